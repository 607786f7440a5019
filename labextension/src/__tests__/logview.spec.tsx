import { nullTranslator } from '@jupyterlab/translation';
import {
  act,
  cleanup,
  fireEvent,
  render,
  screen
} from '@testing-library/react';
import React from 'react';

import { LogModel } from '../log';
import { LogView } from '../logview';
import { chunk } from './fixtures';

const HEIGHT = 100;

let text: string;
let log: LogModel;
let view: HTMLElement;

/** Who wants to know that the text has grown. */
const observers = new Set<() => void>();

window.ResizeObserver = class implements ResizeObserver {
  constructor(callback: ResizeObserverCallback) {
    this._resized = () => callback([], this);
  }
  observe(): void {
    observers.add(this._resized);
  }
  unobserve(): void {
    this.disconnect();
  }
  disconnect(): void {
    observers.delete(this._resized);
  }
  private _resized: () => void;
};

/** What jsdom does not do: lay lines out, ten pixels each. */
function layOut(element: HTMLElement): void {
  const lines = () => element.textContent!.split('\n').length;
  Object.defineProperty(element, 'clientHeight', { value: HEIGHT });
  Object.defineProperty(element, 'scrollHeight', { get: () => lines() * 10 });
}

async function write(lines: number): Promise<void> {
  text += 'a line\n'.repeat(lines);
  await act(() => jest.advanceTimersByTimeAsync(2100));
  observers.forEach(resized => resized());
}

function scroll(top: number): void {
  view.scrollTop = top;
  fireEvent.scroll(view);
}

beforeEach(async () => {
  text = '';
  log = new LogModel(offset => Promise.resolve(chunk(text, offset)));
  render(<LogView log={log} trans={nullTranslator.load('')} />);
  view = screen.getByRole('log');
  layOut(view);
  await write(50);
});
afterEach(() => {
  cleanup();
  log.dispose();
  jest.clearAllTimers();
});

describe('the log view', () => {
  it('follows the end', async () => {
    expect(view.scrollTop).toBe(view.scrollHeight);
    await write(10);
    expect(view.scrollTop).toBe(view.scrollHeight);
    expect(screen.queryByText('Jump to end')).toBeNull();
  });

  it('stays where somebody has scrolled to, until asked to jump', async () => {
    scroll(400);
    scroll(200);
    await write(10);
    expect(view.scrollTop).toBe(200);
    fireEvent.click(screen.getByText('Jump to end'));
    expect(view.scrollTop).toBe(view.scrollHeight);
    expect(screen.queryByText('Jump to end')).toBeNull();
  });

  it('follows again at the end', async () => {
    scroll(400);
    scroll(200);
    scroll(view.scrollHeight - HEIGHT);
    await write(10);
    expect(view.scrollTop).toBe(view.scrollHeight);
  });

  it('can be reached and named without a mouse', () => {
    expect(view.tabIndex).toBe(0);
    expect(view.getAttribute('aria-label')).toBe('Log of the job');
    expect(view.getAttribute('aria-live')).toBe('off');
  });

  it('wraps lines on demand', () => {
    const wrapped = () => view.classList.contains('jp-mod-wrapped');
    expect(wrapped()).toBe(true);
    fireEvent.click(screen.getByLabelText('Wrap lines'));
    expect(wrapped()).toBe(false);
  });
});

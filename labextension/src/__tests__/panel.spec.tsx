import { nullTranslator } from '@jupyterlab/translation';
import { act, cleanup, render, screen } from '@testing-library/react';
import React from 'react';

import { JobView } from '../panel';
import type { IJob } from '../tokens';
import { job, StubModel } from './fixtures';

const trans = nullTranslator.load('');

let model: StubModel;

/** Show a model with these jobs, the first of which is the page's own. */
async function show(...jobs: IJob[]): Promise<void> {
  model.jobs = jobs;
  model.own = jobs[0] ?? null;
  render(<JobView model={model} trans={trans} home="/hub/home" />);
  await act(() => jest.advanceTimersByTimeAsync(100));
}

/** The facts on the card, by name. */
function facts(): Record<string, string> {
  const names = screen.getAllByRole('term');
  const values = screen.getAllByRole('definition');
  return Object.fromEntries(
    names.map((name, index) => [name.textContent, values[index].textContent])
  ) as Record<string, string>;
}

beforeEach(() => {
  model = new StubModel();
});
afterEach(() => {
  cleanup();
  jest.clearAllTimers();
});

describe('the card', () => {
  it('shows where the job runs and how long still', async () => {
    await show(job());
    expect(screen.getByText('Running')).toBeTruthy();
    expect(facts()).toEqual({
      Job: '1234567',
      Accelerators: '2 × U55C',
      Site: 'site-a',
      Backend: 'slurm',
      Queue: 'fpga',
      Node: 'fpga07'
    });
    const bar = screen.getByRole('progressbar');
    expect(bar.getAttribute('aria-valuenow')).toBe('25');
    expect(bar.getAttribute('aria-valuetext')).toBe('1 h 30 min left of 2 h');
  });

  it('leaves out what is not known', async () => {
    await show(
      job({ job_id: '', queue: '', accelerators: [], deadline: null })
    );
    expect(Object.keys(facts())).toEqual(['Site', 'Backend', 'Node']);
    expect(screen.queryByRole('progressbar')).toBeNull();
  });

  it('says why the job waits, in the words of the scheduler', async () => {
    const waiting = { reason: 'Resources', message: 'Two boards are taken.' };
    await show(job({ state: 'queued', ...waiting }));
    expect(screen.getByText('Waiting in the queue')).toBeTruthy();
    expect(screen.getByText('Resources')).toBeTruthy();
    expect(screen.getByText('Two boards are taken.')).toBeTruthy();
  });

  it.each([
    ['2026-11-22T12:42:00Z', 'in about 12 min'],
    ['2026-11-22T12:29:00Z', 'soon']
  ])('says when a waiting job may start: %s', async (start, text) => {
    await show(job({ state: 'queued', estimated_start: start }));
    expect(facts()['Expected start']).toBe(text);
  });

  it('says how the job ended', async () => {
    await show(job({ state: 'failed', exit_code: 137 }));
    expect(screen.getByText('Failed')).toBeTruthy();
    expect(facts()['Exit code']).toBe('137');
    expect(screen.queryByRole('progressbar')).toBeNull();
  });

  it('asks to save in time', async () => {
    await show(job({ deadline: '2026-11-22T12:40:00Z' }));
    expect(screen.getByText(/Save your work/)).toBeTruthy();
  });

  it('says that the connection is down', async () => {
    await show(job({ tunnel: { state: 'down', since: null } }));
    expect(screen.getByText(/its connection is down/)).toBeTruthy();
  });

  it('says how old old news is', async () => {
    await show(job({ observed_at: '2026-11-22T12:28:00Z' }));
    expect(screen.getByText('As of 2 min ago')).toBeTruthy();
  });
});

describe('the panel', () => {
  it('shows the log of the first container', async () => {
    await show(job());
    expect(model.readLog).toHaveBeenCalledWith(
      job().id,
      'notebook',
      expect.any(Number)
    );
    expect(screen.getByRole('log').textContent).toContain('hello');
  });

  it('lists the other servers', async () => {
    const other = job({
      id: 'b',
      server: 'gpu1',
      job_id: '88',
      state: 'queued'
    });
    await show(job(), other);
    expect(screen.getByRole('listitem').textContent).toBe(
      'gpu1' + 'Waiting in the queue' + 'site-a · 88'
    );
  });

  it('says that a state has changed', async () => {
    await show(job());
    expect(screen.getByRole('status').textContent).toBe('');
    act(() =>
      model.moved.emit([{ job: job(), before: 'running', after: 'timeout' }])
    );
    expect(screen.getByRole('status').textContent).toBe(
      'Default server: Ended: time limit reached.'
    );
  });

  it('says that this server is no job', async () => {
    await show();
    expect(screen.getByText(/does not run in a batch job/)).toBeTruthy();
  });

  it('says that the hub has no service, and nothing else', async () => {
    model.access = 'absent';
    await show();
    expect(screen.getByText(/does not run the interLink service/)).toBeTruthy();
    expect(screen.queryByText(/batch job/)).toBeNull();
  });

  it('leads to the job page when the session has ended', async () => {
    model.access = 'denied';
    await show(job());
    expect(screen.getByText(/This session has ended/)).toBeTruthy();
    const link = screen.getByText('Open the job page');
    expect(link.getAttribute('href')).toBe(
      `/services/interlink/jobs/${job().id}`
    );
  });

  it('leads to the hub when no job is known either', async () => {
    model.access = 'denied';
    await show();
    expect(screen.getByRole('link').getAttribute('href')).toBe('/hub/home');
  });

  it('says what the service says, where it says something', async () => {
    model.access = 'unreachable';
    model.problem = 'Kubernetes does not answer.';
    await show(job());
    expect(screen.getByText(/Kubernetes does not answer. Trying/)).toBeTruthy();
    expect(screen.queryByText(/The hub does not answer/)).toBeNull();
  });

  it('keeps the card while the hub does not answer', async () => {
    model.access = 'unreachable';
    await show(job());
    expect(screen.getByText(/The hub does not answer/)).toBeTruthy();
    expect(facts()['Job']).toBe('1234567');
  });
});

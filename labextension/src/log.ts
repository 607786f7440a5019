/**
 * The log of one container, read piece by piece from the hub service.
 *
 * Owns offsets and the generation; the lines are kept by `Lines`. No DOM here.
 */

import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import { Lines } from './lines';
import type { IBlock } from './lines';
import type { ILogChunk } from './tokens';

/** Milliseconds between two questions, and what errors may stretch it to. */
const INTERVAL = 2000;
const MAX_BACKOFF = 60_000;

/** Where to start: so many bytes before the end. */
const START = -1024 * 1024;

export class LogModel implements IDisposable {
  /**
   * @param read - reads a piece of the log from a byte offset on, or from so many
   *   bytes before its end.
   * @param visible - whether somebody looks; nothing is read while nobody does.
   */
  constructor(
    read: (offset: number) => Promise<ILogChunk>,
    visible: () => boolean = () => true
  ) {
    this._read = read;
    this._poll = new Poll({
      name: 'jupyterlab-interlink:log',
      factory: () => this._catchUp(),
      frequency: { interval: INTERVAL, backoff: true, max: MAX_BACKOFF },
      standby: () => (visible() ? 'when-hidden' : true)
    });
  }

  get blocks(): readonly IBlock[] {
    return this._lines.blocks;
  }

  get unfinished(): string {
    return this._lines.unfinished;
  }

  /** Lines that were dropped here because there were too many. */
  get dropped(): number {
    return this._lines.dropped;
  }

  /** Whether lines are missing at the start, or somewhere between. */
  get cut(): boolean {
    return this._cut;
  }

  /** Whether the log has ended and is here as a whole. */
  get complete(): boolean {
    return this._complete;
  }

  /** Why nothing newer is here; empty while all is well. */
  get problem(): string {
    return this._problem;
  }

  /** Emitted after every piece and every failure. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Read on at once, e.g. because somebody looks again. */
  async refresh(): Promise<void> {
    if (!this._complete) {
      await this._poll.refresh();
    }
  }

  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _catchUp(): Promise<void> {
    try {
      let more = true;
      while (more && !this.isDisposed) {
        const chunk = await this._read(this._offset);
        if (this.isDisposed) {
          return;
        }
        more = this._take(chunk);
        this._problem = chunk.message;
        this._changed.emit();
      }
    } catch (error) {
      this._problem = error instanceof Error ? error.message : String(error);
      this._changed.emit();
      throw error; // the poll backs off
    }
    if (this._complete) {
      void this._poll.stop();
    }
  }

  /** Add a piece; returns whether more is there to read now. */
  private _take(chunk: ILogChunk): boolean {
    if (chunk.generation !== this._generation) {
      const continued = this._offset > 0;
      this._restart(chunk.generation);
      if (continued) {
        return true; // the piece is from the middle of a log that starts anew
      }
    }
    if (chunk.offset > Math.max(0, this._offset)) {
      this._cut = true;
      this._midLine = true;
    }
    this._lines.append(this._wholeLines(chunk.data));
    const advanced = chunk.next_offset > this._offset;
    this._offset = chunk.next_offset;
    this._complete = chunk.complete && chunk.next_offset >= chunk.size;
    return advanced && chunk.next_offset < chunk.size;
  }

  private _restart(generation: string): void {
    this._lines.clear();
    this._generation = generation;
    this._offset = START;
    this._cut = false;
    this._midLine = false;
  }

  /** After a jump the text starts inside a line; drop up to its end. */
  private _wholeLines(data: string): string {
    const start = data.indexOf('\n') + 1;
    if (!this._midLine || start === 0) {
      return this._midLine ? '' : data;
    }
    this._midLine = false;
    return data.slice(start);
  }

  private _read: (offset: number) => Promise<ILogChunk>;
  private _poll: Poll<void, unknown, 'stopped'>;
  private _lines = new Lines();
  private _generation: string | null = null;
  private _offset = START;
  private _cut = false;
  private _midLine = false;
  private _complete = false;
  private _problem = '';
  private _changed = new Signal<this, void>(this);
}

/**
 * Documents and stand-ins that several tests use.
 */

import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import example from '../../../tests/data/service/job.json';
import type {
  Access,
  IJob,
  IJobsModel,
  ILogChunk,
  ITransition
} from '../tokens';

/** Compared with `IJob` by the compiler, all but words that JSON types cannot say. */
const FIELDS: Omit<IJob, 'state' | 'tunnel'> = example;

/** The document that the hub service's tests read too, with these values. */
export function job(values: Partial<IJob> = {}): IJob {
  const state = example.state as IJob['state'];
  const tunnel = example.tunnel as IJob['tunnel'];
  return { ...FIELDS, state, tunnel, ...values };
}

/** Noon of the example's day plus some seconds, in milliseconds. */
export function at(seconds: number): number {
  return Date.parse('2026-11-22T12:00:00Z') + seconds * 1000;
}

/** The piece of a log of this text that the service answers for an offset. */
export function chunk(
  text: string,
  asked: number,
  values: Partial<ILogChunk> = {},
  limit = Infinity
): ILogChunk {
  const offset = asked < 0 ? Math.max(0, text.length + asked) : asked;
  const end = Math.min(text.length, offset + limit);
  return {
    generation: 'a',
    offset,
    next_offset: end,
    size: text.length,
    data: text.slice(offset, end),
    head_lost: false,
    complete: false,
    source: 'live',
    message: '',
    ...values
  };
}

/** A model that a test moves by hand. */
export class StubModel implements IJobsModel {
  jobs: IJob[] = [];
  own: IJob | null = null;
  access: Access = 'ok';
  problem = '';
  visible = true;
  isDisposed = false;
  readonly refreshed: Signal<IJobsModel, void> = new Signal(this);
  readonly moved: Signal<IJobsModel, readonly ITransition[]> = new Signal(this);
  readonly visibleChanged: Signal<IJobsModel, boolean> = new Signal(this);
  readonly readLog = jest.fn(() => Promise.resolve(chunk('hello\n', 0)));

  now(): number {
    return at(1800);
  }

  jobPage(id: string): string {
    return `/services/interlink/jobs/${id}`;
  }

  dispose(): void {
    this.isDisposed = true;
  }
}

/** Collect what a signal emits. */
export function record<T>(signal: ISignal<unknown, T>): T[] {
  const seen: T[] = [];
  signal.connect((_, args) => {
    seen.push(args);
  });
  return seen;
}

/**
 * What a job state means: its word on screen, and the kind that picks its icon.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobState } from './tokens';

/** States that look alike. */
export type StateKind = 'waiting' | 'running' | 'done' | 'failed' | 'unknown';

const KINDS: Record<JobState, StateKind> = {
  requested: 'waiting',
  queued: 'waiting',
  starting: 'waiting',
  running: 'running',
  suspended: 'waiting',
  stopping: 'waiting',
  completed: 'done',
  failed: 'failed',
  cancelled: 'done',
  timeout: 'failed',
  out_of_memory: 'failed',
  preempted: 'failed',
  node_failed: 'failed',
  lost: 'failed',
  unknown: 'unknown'
};

/** The kind of a state; a word that a newer service may send is unknown. */
export function kindOf(state: JobState): StateKind {
  return KINDS[state] ?? 'unknown';
}

/** Whether the job will never run again. */
export function isEnded(state: JobState): boolean {
  const kind = kindOf(state);
  return kind === 'done' || kind === 'failed';
}

/** The state in words. Literals only: the extractor of messages reads the source. */
export function stateWord(state: JobState, trans: TranslationBundle): string {
  switch (state) {
    case 'requested':
      return trans.__('Requested');
    case 'queued':
      return trans.__('Waiting in the queue');
    case 'starting':
      return trans.__('Starting');
    case 'running':
      return trans.__('Running');
    case 'suspended':
      return trans.__('Suspended');
    case 'stopping':
      return trans.__('Stopping');
    case 'completed':
      return trans.__('Completed');
    case 'failed':
      return trans.__('Failed');
    case 'cancelled':
      return trans.__('Cancelled');
    case 'timeout':
      return trans.__('Ended: time limit reached');
    case 'out_of_memory':
      return trans.__('Ended: out of memory');
    case 'preempted':
      return trans.__('Ended: preempted');
    case 'node_failed':
      return trans.__('Ended: node failed');
    case 'lost':
      return trans.__('Lost');
    default:
      return trans.__('Unknown');
  }
}

/**
 * How much of a job's walltime is left. Pure; times are milliseconds of one clock.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import { isEnded } from './states';
import type { IJob } from './tokens';

/** Whether people should save their work now. */
export type Urgency = 'calm' | 'soon' | 'now';

/** Seconds left from which on the urgency rises. */
const SOON = 15 * 60;
const NOW = 5 * 60;

/** What is left of a walltime. */
export interface IWalltime {
  /** Whole seconds until the scheduler ends the job; never negative. */
  left: number;
  /** Whole seconds from the job's start to its end. */
  total: number;
  /** Part of the walltime that is used, 0 to 1. */
  used: number;
  urgency: Urgency;
}

/** The walltime of a job, or `null` where it has no limit or is not counting. */
export function walltime(job: IJob, now: number): IWalltime | null {
  if (!job.deadline || !job.started_at || isEnded(job.state)) {
    return null;
  }
  const start = Date.parse(job.started_at);
  const end = Date.parse(job.deadline);
  const left = Math.max(0, Math.ceil((end - now) / 1000));
  const total = Math.max(1, Math.round((end - start) / 1000));
  return {
    left,
    total,
    used: Math.min(1, Math.max(0, 1 - left / total)),
    urgency: left <= NOW ? 'now' : left <= SOON ? 'soon' : 'calm'
  };
}

/** A duration in its two largest units, e.g. `1 d 3 h`, `4 min 10 s`, `2 h`. */
export function duration(seconds: number, trans: TranslationBundle): string {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const parts: [number, string][] = [
    [Math.floor(hours / 24), trans.__('%1 d', Math.floor(hours / 24))],
    [hours % 24, trans.__('%1 h', hours % 24)],
    [minutes % 60, trans.__('%1 min', minutes % 60)],
    [seconds % 60, trans.__('%1 s', seconds % 60)]
  ];
  const largest = parts.findIndex(([count]) => count > 0);
  if (largest < 0) {
    return trans.__('%1 s', 0);
  }
  return parts
    .slice(largest, largest + 2)
    .filter(([count]) => count > 0)
    .map(([, text]) => text)
    .join(' ');
}

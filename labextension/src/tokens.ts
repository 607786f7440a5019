/**
 * The contract: documents of the hub service, and the model that other plugins use.
 *
 * Owns no behaviour. The documents are those of `tests/data/service/job.json`, which
 * the service's own tests read too.
 */

import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

/** The life of a job in words that do not depend on the scheduler. */
export type JobState =
  | 'requested'
  | 'queued'
  | 'starting'
  | 'running'
  | 'suspended'
  | 'stopping'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'timeout'
  | 'out_of_memory'
  | 'preempted'
  | 'node_failed'
  | 'lost'
  | 'unknown';

/** Devices of one model that the job has. */
export interface IAccelerator {
  /** Extended resource name, e.g. `xilinx.com/fpga`. */
  resource_type: string;
  /** Lower case, e.g. `u55c`; empty if any model would do. */
  model: string;
  count: number;
}

/** One batch job, which is one server of a user. All times are RFC 3339. */
export interface IJob {
  /** UID of the pod: the job's name for the service. */
  id: string;
  owner: string;
  /** Name of the server; empty for the user's default one. */
  server: string;
  /** Short name of the computing site, else its virtual node. */
  site: string;
  /** What the site drives: `slurm`, `htcondor`, `local`. */
  backend: string;
  /** The compute node; empty before the job runs. */
  node: string;
  /** The scheduler's own id; empty until the job is submitted. */
  job_id: string;
  state: JobState;
  /** The scheduler's words: its state, why the job waits, and a sentence. */
  scheduler_state: string;
  reason: string;
  message: string;
  /** Partition or queue. */
  queue: string;
  submitted_at: string | null;
  estimated_start: string | null;
  started_at: string | null;
  /** When the scheduler will end the job. */
  deadline: string | null;
  ended_at: string | null;
  exit_code: number | null;
  signal: number | null;
  accelerators: IAccelerator[];
  tunnel: { state: 'up' | 'down' | 'unknown'; since: string | null };
  /** When all this was last confirmed. */
  observed_at: string;
  /** Names of the containers that have a log, the notebook's first. */
  containers: string[];
}

/** The answer to `GET api/v1/jobs`. */
export interface IJobList {
  /** Newest first. */
  jobs: IJob[];
  /** The service's clock; times on screen count from it, not from the browser's. */
  served_at: string;
}

/**
 * The answer to `GET api/v1/jobs/{id}/logs/{container}?offset=N`.
 *
 * Offsets are bytes; a negative one counts from the end.
 */
export interface ILogChunk {
  /** Changes when the log starts anew: read it again from its start. */
  generation: string;
  offset: number;
  next_offset: number;
  size: number;
  data: string;
  /** The bytes from the requested offset up to `offset` are gone. */
  head_lost: boolean;
  /** Nothing will follow `size`. */
  complete: boolean;
  source: 'live' | 'archive';
  /** Why there is no newer data; empty while all is well. */
  message: string;
}

/** What the last question to the service said about reaching it. */
export type Access = 'unknown' | 'ok' | 'absent' | 'denied' | 'unreachable';

/** A job came, went, or got another state; an absent side is `null`. */
export interface ITransition {
  job: IJob;
  before: JobState | null;
  after: JobState | null;
}

/** The user's jobs, kept up to date. */
export interface IJobsModel extends IDisposable {
  /** Jobs of the user whose server this is, newest first. */
  readonly jobs: readonly IJob[];
  /** The job that this JupyterLab runs in, if any. */
  readonly own: IJob | null;
  readonly access: Access;
  /** Why there is no access: a sentence of the service, or empty. */
  readonly problem: string;
  /** Emitted after every question to the service, answered or not. */
  readonly refreshed: ISignal<IJobsModel, void>;
  /** Emitted when states changed; never for the first answer. */
  readonly moved: ISignal<IJobsModel, readonly ITransition[]>;
  /** Whether somebody looks; a model that nobody looks at asks rarely. */
  visible: boolean;
  readonly visibleChanged: ISignal<IJobsModel, boolean>;
  /** Milliseconds since the epoch by the service's clock. */
  now(): number;
  /** The service's own page of a job, which is there when this page is not. */
  jobPage(id: string): string;
  /** Read a log from a byte offset on, or from so many bytes before its end. */
  readLog(id: string, container: string, offset: number): Promise<ILogChunk>;
}

export const IJobsModel = new Token<IJobsModel>(
  'jupyterlab-interlink:IJobsModel',
  'The batch jobs of the user, as the hub service knows them.'
);

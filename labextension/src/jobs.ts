/**
 * The user's jobs, kept up to date by asking the hub service.
 *
 * Owns when to ask and what changed; no DOM here. Unlike JupyterLab's own models it
 * keeps asking while the notebook server is lost: that is when its answer matters.
 */

import { Poll } from '@lumino/polling';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import { ServiceError } from './service';
import type { InterLinkService } from './service';
import { isEnded } from './states';
import type { Access, IJob, IJobList, IJobsModel, ITransition } from './tokens';
import type { ILogChunk } from './tokens';

/** Milliseconds between two questions. */
export const INTERVAL = { changing: 3000, visible: 10_000, hidden: 60_000 };

/** Milliseconds that errors may stretch the interval to; somebody may be waiting. */
const MAX_BACKOFF = 60_000;

/** Which server of which user this page belongs to. */
export interface IServer {
  owner: string;
  server: string;
}

/** The job of a server among jobs, newest first: the live one, else the newest. */
export function jobOf(jobs: readonly IJob[], server: IServer): IJob | null {
  const mine = jobs.filter(
    job => job.owner === server.owner && job.server === server.server
  );
  return mine.find(job => !isEnded(job.state)) ?? mine[0] ?? null;
}

/** Which jobs came, went or changed their state. */
export function transitions(
  before: readonly IJob[],
  after: readonly IJob[]
): ITransition[] {
  const old = new Map(before.map(job => [job.id, job]));
  const kept = new Set(after.map(job => job.id));
  return [
    ...after
      .filter(job => old.get(job.id)?.state !== job.state)
      .map(job => ({
        job,
        before: old.get(job.id)?.state ?? null,
        after: job.state
      })),
    ...before
      .filter(job => !kept.has(job.id))
      .map(job => ({ job, before: job.state, after: null }))
  ];
}

/** How long to wait until the next question, in milliseconds. */
export function interval(own: IJob | null, visible: boolean): number {
  if (!visible) {
    return INTERVAL.hidden;
  }
  const changing =
    own !== null &&
    !isEnded(own.state) &&
    (own.state !== 'running' || own.tunnel.state === 'down');
  return changing ? INTERVAL.changing : INTERVAL.visible;
}

export class JobsModel implements IJobsModel {
  constructor(service: InterLinkService, server: IServer) {
    this._service = service;
    this._server = server;
    this._poll = new Poll({
      name: 'jupyterlab-interlink:jobs',
      factory: () => this._ask(),
      frequency: this._frequency(),
      standby: 'never'
    });
  }

  get jobs(): readonly IJob[] {
    return this._jobs;
  }

  get own(): IJob | null {
    return jobOf(this._jobs, this._server);
  }

  get access(): Access {
    return this._access;
  }

  get problem(): string {
    return this._problem;
  }

  get refreshed(): ISignal<this, void> {
    return this._refreshed;
  }

  get moved(): ISignal<this, readonly ITransition[]> {
    return this._moved;
  }

  get visible(): boolean {
    return this._visible;
  }

  set visible(visible: boolean) {
    if (visible === this._visible) {
      return;
    }
    this._visible = visible;
    this._poll.frequency = this._frequency();
    this._visibleChanged.emit(visible);
    if (visible) {
      void this._poll.refresh();
    }
  }

  get visibleChanged(): ISignal<this, boolean> {
    return this._visibleChanged;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  now(): number {
    return Date.now() + this._skew;
  }

  jobPage(id: string): string {
    return this._service.jobPage(id);
  }

  readLog(id: string, container: string, offset: number): Promise<ILogChunk> {
    return this._service.log(id, container, offset);
  }

  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _ask(): Promise<void> {
    let error: unknown;
    const answer = await this._service.jobs().catch((reason: unknown) => {
      error = reason;
    });
    if (this.isDisposed) {
      return;
    }
    if (answer) {
      this._take(answer);
    } else {
      this._fail(error);
    }
    this._poll.frequency = this._frequency();
    this._refreshed.emit();
    if (!answer) {
      throw error; // so that the poll backs off
    }
  }

  private _take(answer: IJobList): void {
    const first = this._access === 'unknown';
    const before = this._jobs;
    this._jobs = answer.jobs.filter(job => job.owner === this._server.owner);
    this._access = 'ok';
    this._problem = '';
    this._skew = Date.parse(answer.served_at) - Date.now();
    const changes = transitions(before, this._jobs);
    if (!first && changes.length > 0) {
      this._moved.emit(changes);
    }
  }

  private _fail(error: unknown): void {
    const known = error instanceof ServiceError;
    this._access = known ? error.access : 'unreachable';
    this._problem = known ? error.message : String(error);
  }

  private _frequency(): { interval: number; backoff: boolean; max: number } {
    return {
      interval: interval(this.own, this._visible),
      backoff: true,
      max: MAX_BACKOFF
    };
  }

  private _service: InterLinkService;
  private _server: IServer;
  private _poll: Poll<void, unknown, 'stopped'>;
  private _jobs: readonly IJob[] = [];
  private _access: Access = 'unknown';
  private _problem = '';
  private _skew = 0;
  private _visible = false;
  private _refreshed = new Signal<this, void>(this);
  private _moved = new Signal<this, readonly ITransition[]>(this);
  private _visibleChanged = new Signal<this, boolean>(this);
}

/**
 * The card of one job: what runs where, in which state, and for how long still.
 *
 * A view: takes a job and a clock, asks nobody.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useReducer } from 'react';

import { stateIcons } from './icons';
import { kindOf, stateWord } from './states';
import type { IAccelerator, IJob } from './tokens';
import { duration, walltime } from './walltime';

/** Seconds after which people are told how old the news is. */
const STALE = 45;

interface IProps {
  job: IJob;
  /** Milliseconds since the epoch by the service's clock. */
  now: () => number;
  /** The service's own page of the job. */
  page: string;
  trans: TranslationBundle;
}

/** Draw the component again every second. */
function useSecondHand(): void {
  const [, tick] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const timer = setInterval(tick, 1000);
    return () => clearInterval(timer);
  }, []);
}

/** The state as icon and word. */
export function State(props: Pick<IProps, 'job' | 'trans'>): JSX.Element {
  const { job, trans } = props;
  const kind = kindOf(job.state);
  const icon = stateIcons[kind];
  return (
    <span className={`jp-InterLink-state jp-mod-${kind}`}>
      <icon.react tag="span" aria-hidden="true" />
      <span>{stateWord(job.state, trans)}</span>
    </span>
  );
}

/** Why the job waits or how it ended: the scheduler's word, then the sentence. */
function Reason({ job }: Pick<IProps, 'job'>): JSX.Element | null {
  if (!job.reason && !job.message) {
    return null;
  }
  return (
    <p className="jp-InterLink-reason">
      {job.reason && <code>{job.reason}</code>}
      {job.reason && job.message && ' '}
      {job.message}
    </p>
  );
}

/** Time left, as text and as a bar. */
function Walltime({ job, now, trans }: IProps): JSX.Element | null {
  useSecondHand();
  const time = walltime(job, now());
  if (!time) {
    return null;
  }
  const text = trans.__(
    '%1 left of %2',
    duration(time.left, trans),
    duration(time.total, trans)
  );
  return (
    <div className={`jp-InterLink-walltime jp-mod-${time.urgency}`}>
      <div>{trans.__('Walltime: %1', text)}</div>
      {time.urgency !== 'calm' && <div>{trans.__('Save your work.')}</div>}
      <div
        className="jp-InterLink-bar"
        role="progressbar"
        aria-label={trans.__('Walltime used')}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(time.used * 100)}
        aria-valuetext={text}
      >
        <div style={{ width: `${time.used * 100}%` }} />
      </div>
    </div>
  );
}

/** How old the news is, once it is old. */
function Age({ job, now, trans }: IProps): JSX.Element | null {
  useSecondHand();
  const age = Math.floor((now() - Date.parse(job.observed_at)) / 1000);
  return age > STALE ? (
    <p className="jp-InterLink-notice">
      {trans.__('As of %1 ago', duration(age, trans))}
    </p>
  ) : null;
}

/** e.g. `2 × U55C`; the resource type where any model would do. */
function accelerator({ count, model, resource_type }: IAccelerator): string {
  return `${count} × ${model ? model.toUpperCase() : resource_type}`;
}

/** When a waiting job is expected to start; no promise. */
function expectedStart({ job, now, trans }: IProps): string {
  if (!job.estimated_start || kindOf(job.state) !== 'waiting') {
    return '';
  }
  const minutes = Math.ceil((Date.parse(job.estimated_start) - now()) / 60_000);
  return minutes > 0
    ? trans.__('in about %1', duration(minutes * 60, trans))
    : trans.__('soon');
}

/** The facts that are known, each with its name. */
function facts(props: IProps): [string, string][] {
  const { job, trans } = props;
  const all: [string, string][] = [
    [trans.__('Expected start'), expectedStart(props)],
    [trans.__('Job'), job.job_id],
    [trans.__('Accelerators'), job.accelerators.map(accelerator).join(', ')],
    [trans.__('Site'), job.site],
    [trans.__('Backend'), job.backend],
    [trans.__('Queue'), job.queue],
    [trans.__('Node'), job.node],
    [trans.__('Exit code'), job.exit_code?.toString() ?? '']
  ];
  return all.filter(([, value]) => value);
}

/** A sentence about the tunnel, only while the job runs without one. */
function Tunnel({
  job,
  trans
}: Pick<IProps, 'job' | 'trans'>): JSX.Element | null {
  if (job.state !== 'running' || job.tunnel.state !== 'down') {
    return null;
  }
  return (
    <p className="jp-InterLink-notice jp-mod-warning">
      {trans.__('The job runs, but its connection is down. Trying again.')}
    </p>
  );
}

export function JobCard(props: IProps): JSX.Element {
  const { job, trans } = props;
  return (
    <div className="jp-InterLink-card">
      <State job={job} trans={trans} />
      <Reason job={job} />
      <Walltime {...props} />
      <Tunnel job={job} trans={trans} />
      <dl className="jp-InterLink-facts">
        {facts(props).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <Age {...props} />
      <p>
        <a href={props.page} target="_blank">
          {trans.__('Job page')}
        </a>
      </p>
    </div>
  );
}

/**
 * The panel beside the notebook: the job it runs in, its log, and the user's others.
 *
 * Puts views together and tells the models whether somebody looks.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import React, { useEffect, useState } from 'react';

import { jobIcon } from './icons';
import { JobCard, State } from './jobcard';
import { LogModel } from './log';
import { LogView } from './logview';
import { stateWord } from './states';
import type { IJob, IJobsModel, ITransition } from './tokens';

interface IProps {
  model: IJobsModel;
  trans: TranslationBundle;
  /** The hub's page of the user's servers. */
  home: string;
}

/** What is wrong between this page and the hub service, if anything. */
function Notice({ model, trans, home }: IProps): JSX.Element | null {
  const warning = 'jp-InterLink-notice jp-mod-warning';
  switch (model.access) {
    case 'ok':
      return null;
    case 'unknown':
      return <p className="jp-InterLink-notice">{trans.__('Loading…')}</p>;
    case 'absent':
      return (
        <p className="jp-InterLink-notice">
          {trans.__('This hub does not run the interLink service.')}
        </p>
      );
    case 'denied':
      return (
        <p className={warning}>
          {trans.__('This session has ended.')}{' '}
          {model.own ? (
            <a href={model.jobPage(model.own.id)} target="_blank">
              {trans.__('Open the job page')}
            </a>
          ) : (
            <a href={home} target="_blank">
              {trans.__('Open the hub')}
            </a>
          )}
        </p>
      );
    case 'unreachable':
      return (
        <p className={warning}>
          {model.problem || trans.__('The hub does not answer.')}{' '}
          {trans.__('Trying again.')}
        </p>
      );
  }
}

/** The log of the job's first container. */
function Log({
  model,
  job,
  trans
}: IProps & { job: IJob }): JSX.Element | null {
  const [log, setLog] = useState<LogModel | null>(null);
  const { id } = job;
  const container = job.containers[0];
  useEffect(() => {
    if (!container) {
      return;
    }
    const log = new LogModel(
      offset => model.readLog(id, container, offset),
      () => model.visible
    );
    const onVisible = () => void log.refresh();
    model.visibleChanged.connect(onVisible);
    setLog(log);
    return () => {
      model.visibleChanged.disconnect(onVisible);
      log.dispose();
      setLog(null);
    };
  }, [model, id, container]);
  return log && <LogView log={log} trans={trans} />;
}

/** The user's other servers that run as jobs. */
function Others({ model, trans }: IProps): JSX.Element | null {
  const others = model.jobs.filter(job => job.id !== model.own?.id);
  if (others.length === 0) {
    return null;
  }
  return (
    <section className="jp-InterLink-others">
      <h3>{trans.__('Other servers')}</h3>
      <ul>
        {others.map(job => (
          <li key={job.id}>
            <strong>{serverName(job, trans)}</strong>
            <State job={job} trans={trans} />
            <span>{[job.site, job.job_id].filter(Boolean).join(' · ')}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function serverName(job: IJob, trans: TranslationBundle): string {
  return job.server || trans.__('Default server');
}

/** Says aloud, to those who do not see the icon, that a state has changed. */
function Announcer({ model, trans }: IProps): JSX.Element {
  return (
    <div role="status" className="jp-InterLink-announcer">
      <UseSignal signal={model.moved}>
        {(_, moves) =>
          (moves ?? []).map(move => announcement(move, trans)).join(' ')
        }
      </UseSignal>
    </div>
  );
}

function announcement(move: ITransition, trans: TranslationBundle): string {
  const name = serverName(move.job, trans);
  return move.after
    ? trans.__('%1: %2.', name, stateWord(move.after, trans))
    : trans.__('%1 is gone.', name);
}

function Own(props: IProps): JSX.Element | null {
  const { model, trans } = props;
  if (!model.own) {
    return model.access === 'ok' ? (
      <p className="jp-InterLink-notice">
        {trans.__('This server does not run in a batch job.')}
      </p>
    ) : null;
  }
  return (
    <>
      <JobCard
        job={model.own}
        now={() => model.now()}
        page={model.jobPage(model.own.id)}
        trans={trans}
      />
      <Log {...props} job={model.own} />
    </>
  );
}

/** Everything in the panel; exported for tests. */
export function JobView(props: IProps): JSX.Element {
  const { model, trans } = props;
  return (
    <>
      <h2 className="jp-InterLink-title">{trans.__('Job')}</h2>
      <Announcer {...props} />
      <UseSignal signal={model.refreshed}>
        {() => (
          <>
            <Notice {...props} />
            <Own {...props} />
            <Others {...props} />
          </>
        )}
      </UseSignal>
    </>
  );
}

export class JobPanel extends ReactWidget {
  constructor(options: IProps) {
    super();
    this._options = options;
    const { trans } = options;
    this.id = 'jp-interlink-job';
    this.title.icon = jobIcon;
    this.title.caption = trans.__('Job');
    this.addClass('jp-InterLink');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Job'));
    this.node.tabIndex = -1;
  }

  protected override render(): JSX.Element {
    return <JobView {...this._options} />;
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    document.addEventListener('visibilitychange', this);
    this._look();
  }

  protected override onBeforeDetach(msg: Message): void {
    document.removeEventListener('visibilitychange', this);
    this._options.model.visible = false;
    super.onBeforeDetach(msg);
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._look();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._look();
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    this.node.focus();
  }

  /** The DOM's `visibilitychange`: the browser tab came or went. */
  handleEvent(): void {
    this._look();
  }

  private _look(): void {
    this._options.model.visible = this.isVisible && !document.hidden;
  }

  private _options: IProps;
}

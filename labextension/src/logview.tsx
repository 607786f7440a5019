/**
 * The end of a job's log: follows what arrives until somebody scrolls up.
 *
 * Blocks off screen cost nothing (`content-visibility`), yet the browser's own find,
 * selection and copy work over the whole text. A view: the model reads.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import React, { memo, useLayoutEffect, useRef, useState } from 'react';

import type { IBlock } from './lines';
import type { LogModel } from './log';

/** Pixels from the end that still count as the end. */
const SLACK = 8;

interface IProps {
  log: LogModel;
  trans: TranslationBundle;
}

const Block = memo(({ block }: { block: IBlock }) => (
  <pre
    className="jp-InterLink-block"
    style={{ containIntrinsicSize: `auto ${block.count * 1.3}em` }}
  >
    {block.text}
  </pre>
));
Block.displayName = 'Block';

/** What is not shown, or why nothing is. */
function Note({ log, trans }: IProps): JSX.Element | null {
  if (log.dropped > 0 || log.cut) {
    return (
      <p className="jp-InterLink-notice">
        {trans.__('Earlier lines are not shown.')}
      </p>
    );
  }
  const empty = log.blocks.length === 0 && !log.unfinished;
  return empty && !log.problem ? (
    <p className="jp-InterLink-notice">{trans.__('No output yet.')}</p>
  ) : null;
}

/**
 * Keep a scrolled element at its end until somebody scrolls up.
 *
 * Text is laid out late, so that its height changes after it was added: what follows
 * the end must follow every change of size.
 */
function useFollow(
  view: React.RefObject<HTMLElement>,
  content: React.RefObject<HTMLElement>
) {
  const [following, setFollowing] = useState(true);
  const top = useRef(0);
  useLayoutEffect(() => {
    if (!following || !view.current || !content.current) {
      return;
    }
    const element = view.current;
    const toEnd = () => {
      element.scrollTop = element.scrollHeight;
    };
    const observer = new ResizeObserver(toEnd);
    observer.observe(element);
    observer.observe(content.current);
    toEnd();
    return () => observer.disconnect();
  }, [following, view, content]);
  const onScroll = ({ currentTarget }: React.UIEvent<HTMLElement>) => {
    const { scrollTop, scrollHeight, clientHeight } = currentTarget;
    if (scrollTop + clientHeight >= scrollHeight - SLACK) {
      setFollowing(true);
    } else if (scrollTop < top.current) {
      // Only a person scrolls up; text that grows moves the end, not the top.
      setFollowing(false);
    }
    top.current = scrollTop;
  };
  return { following, onScroll, jump: () => setFollowing(true) };
}

function Text({ log, trans }: IProps): JSX.Element {
  const view = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const { following, onScroll, jump } = useFollow(view, content);
  const [wrapped, setWrapped] = useState(true);

  return (
    <div className="jp-InterLink-logArea">
      <div className="jp-InterLink-logHead">
        <h3>{trans.__('Log')}</h3>
        <label>
          <input
            type="checkbox"
            checked={wrapped}
            onChange={event => setWrapped(event.target.checked)}
          />
          {trans.__('Wrap lines')}
        </label>
      </div>
      <div
        ref={view}
        className={`jp-InterLink-log${wrapped ? ' jp-mod-wrapped' : ''}`}
        role="log"
        aria-label={trans.__('Log of the job')}
        aria-live="off"
        tabIndex={0}
        onScroll={onScroll}
      >
        <div ref={content}>
          <Note log={log} trans={trans} />
          {log.blocks.map(block => (
            <Block key={block.first} block={block} />
          ))}
          {log.unfinished && (
            <pre className="jp-InterLink-block">{log.unfinished}</pre>
          )}
        </div>
      </div>
      {!following && (
        <button
          type="button"
          className="jp-InterLink-jump jp-mod-styled"
          onClick={jump}
        >
          {trans.__('Jump to end')}
        </button>
      )}
      {log.problem && (
        <p className="jp-InterLink-notice jp-mod-warning">{log.problem}</p>
      )}
    </div>
  );
}

export function LogView({ log, trans }: IProps): JSX.Element {
  return (
    <UseSignal signal={log.changed}>
      {() => <Text log={log} trans={trans} />}
    </UseSignal>
  );
}

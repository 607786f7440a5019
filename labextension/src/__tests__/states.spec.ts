import { nullTranslator } from '@jupyterlab/translation';

import { isEnded, kindOf, stateWord } from '../states';
import type { JobState } from '../tokens';

const trans = nullTranslator.load('');

describe('states', () => {
  it.each<[JobState, string, boolean, string]>([
    ['requested', 'waiting', false, 'Requested'],
    ['running', 'running', false, 'Running'],
    ['stopping', 'waiting', false, 'Stopping'],
    ['cancelled', 'done', true, 'Cancelled'],
    ['out_of_memory', 'failed', true, 'Ended: out of memory'],
    ['unknown', 'unknown', false, 'Unknown']
  ])('%s', (state, kind, ended, word) => {
    expect(kindOf(state)).toBe(kind);
    expect(isEnded(state)).toBe(ended);
    expect(stateWord(state, trans)).toBe(word);
  });

  it('takes a word of a newer service for unknown', () => {
    const state = 'hibernating' as JobState;
    expect([kindOf(state), isEnded(state), stateWord(state, trans)]).toEqual([
      'unknown',
      false,
      'Unknown'
    ]);
  });
});

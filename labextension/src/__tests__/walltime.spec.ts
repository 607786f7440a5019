import { nullTranslator } from '@jupyterlab/translation';

import { duration, walltime } from '../walltime';
import { at, job } from './fixtures';

const trans = nullTranslator.load('');

describe('walltime', () => {
  // The example runs from 12:00 to 14:00.
  it.each([
    [0, 7200, 0, 'calm'],
    [1800, 5400, 0.25, 'calm'],
    [7200 - 901, 901, 6299 / 7200, 'calm'],
    [7200 - 900, 900, 0.875, 'soon'],
    [7200 - 300, 300, 6900 / 7200, 'now'],
    [9000, 0, 1, 'now'],
    [-60, 7260, 0, 'calm']
  ])('%d s after the start', (seconds, left, used, urgency) => {
    expect(walltime(job(), at(seconds))).toEqual({
      left,
      total: 7200,
      used,
      urgency
    });
  });

  it('rounds up, so that zero means the end', () => {
    expect(walltime(job(), at(7199.2))?.left).toBe(1);
  });

  it.each([
    { deadline: null },
    { started_at: null },
    { state: 'timeout' as const }
  ])('does not count with %p', values => {
    expect(walltime(job(values), at(0))).toBeNull();
  });
});

describe('duration', () => {
  it.each([
    [0, '0 s'],
    [59, '59 s'],
    [60, '1 min'],
    [250, '4 min 10 s'],
    [3600, '1 h'],
    [3661, '1 h 1 min'],
    [3601, '1 h'],
    [90_000, '1 d 1 h'],
    [8 * 86_400 + 60, '8 d']
  ])('%d s', (seconds, text) => {
    expect(duration(seconds, trans)).toBe(text);
  });
});

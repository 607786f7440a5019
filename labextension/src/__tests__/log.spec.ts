import { LogModel } from '../log';
import { ServiceError } from '../service';
import type { ILogChunk } from '../tokens';
import { chunk } from './fixtures';

/** Where a log is read from: so many bytes before its end. */
const START = -1024 * 1024;

describe('LogModel', () => {
  let read: jest.Mock<Promise<ILogChunk>, [number]>;
  let visible: boolean;
  let log: LogModel;

  /** The log's text from now on; answered whole unless `limit` says otherwise. */
  const answer = (
    text: string,
    values: Partial<ILogChunk> = {},
    limit = Infinity
  ) =>
    read.mockImplementation(offset =>
      Promise.resolve(chunk(text, offset, values, limit))
    );
  const wait = (milliseconds: number) =>
    jest.advanceTimersByTimeAsync(milliseconds);
  const text = () =>
    log.blocks.map(block => block.text).join('') + log.unfinished;
  const offsets = () => read.mock.calls.map(([offset]) => offset);

  beforeEach(() => {
    read = jest.fn<Promise<ILogChunk>, [number]>();
    visible = true;
    log = new LogModel(read, () => visible);
  });
  afterEach(() => {
    log.dispose();
    jest.clearAllTimers();
  });

  it('reads on from where it was', async () => {
    answer('one\n');
    await wait(100);
    answer('one\ntwo\n');
    await wait(2000);
    expect(offsets()).toEqual([START, 4]);
    expect(text()).toBe('one\ntwo\n');
  });

  it('catches up without waiting', async () => {
    answer('0123456789\n', {}, 4);
    await wait(100);
    expect(offsets()).toEqual([START, 4, 8]);
    expect(text()).toBe('0123456789\n');
  });

  it('does not turn in circles when a piece is empty', async () => {
    answer('one\n');
    await wait(100);
    read.mockImplementation(offset =>
      Promise.resolve(chunk('one\n', offset, { size: 99 }))
    );
    await wait(2000);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it('reads nothing while nobody looks', async () => {
    visible = false;
    answer('one\n');
    await wait(10_000);
    expect(read).not.toHaveBeenCalled();
    visible = true;
    await log.refresh();
    await wait(100);
    expect(text()).toBe('one\n');
  });

  it('starts again with a new generation', async () => {
    answer('old and long\n');
    await wait(100);
    answer('new\n', { generation: 'b' });
    await wait(2000);
    expect(offsets()).toEqual([START, 13, START]);
    expect(text()).toBe('new\n');
  });

  it('says that the head is lost, and shows whole lines only', async () => {
    read.mockResolvedValueOnce(
      chunk('ne\ntwo\n', 0, {
        offset: 100,
        next_offset: 107,
        size: 107,
        head_lost: true
      })
    );
    await wait(100);
    expect([text(), log.cut]).toEqual(['two\n', true]);
  });

  it('reads the end of a long log only', async () => {
    const long = 'x'.repeat(1023) + '\n';
    const whole = long.repeat(2 * 1024) + 'the end\n';
    answer(whole, {}, 64 * 1024);
    await wait(100);
    expect(text().length).toBeLessThanOrEqual(-START);
    expect(text().startsWith(long)).toBe(true);
    expect(text().endsWith('\nthe end\n')).toBe(true);
    expect(log.cut).toBe(true);
  });

  it('stops at the end of a complete log', async () => {
    answer('all\n', { complete: true });
    await wait(100);
    expect(log.complete).toBe(true);
    await log.refresh();
    await wait(60_000);
    expect(read).toHaveBeenCalledTimes(1);
  });

  it('says why there is nothing newer, and goes on after it', async () => {
    answer('one\n');
    await wait(100);
    read.mockRejectedValueOnce(new ServiceError('Busy', 'Too many logs.', 503));
    await wait(2000);
    expect([text(), log.problem]).toEqual(['one\n', 'Too many logs.']);
    answer('one\n', { message: 'The node does not answer.' });
    await wait(60_000);
    expect(log.problem).toBe('The node does not answer.');
    answer('one\ntwo\n');
    await wait(2000);
    expect([text(), log.problem]).toEqual(['one\ntwo\n', '']);
  });

  it('takes nothing once disposed', async () => {
    let deliver: (chunk: ILogChunk) => void = () => undefined;
    read.mockReturnValue(new Promise(resolve => (deliver = resolve)));
    await wait(100);
    log.dispose();
    deliver(chunk('late\n', 0));
    await wait(100);
    expect(text()).toBe('');
  });
});

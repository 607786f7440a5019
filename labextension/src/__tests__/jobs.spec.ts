import { interval, INTERVAL, jobOf, JobsModel, transitions } from '../jobs';
import { ServiceError } from '../service';
import type { InterLinkService } from '../service';
import type { IJob, IJobList } from '../tokens';
import { at, job, record } from './fixtures';

const ALICE = { owner: 'alice', server: '' };

describe('jobOf', () => {
  const old = job({ id: 'old', state: 'timeout' });
  const live = job({ id: 'live' });

  it('is the live job of that server', () => {
    expect(jobOf([old, live], ALICE)).toBe(live);
  });

  it('is the newest where none is live', () => {
    expect(jobOf([old, job({ state: 'failed' })], ALICE)).toBe(old);
  });

  it('is no job of another server or user', () => {
    const others = [job({ server: 'gpu' }), job({ owner: 'bob' })];
    expect(jobOf(others, ALICE)).toBeNull();
  });
});

test('transitions', () => {
  const before = [job({ id: 'a' }), job({ id: 'b' }), job({ id: 'c' })];
  const after = [
    job({ id: 'a', message: 'same state' }),
    job({ id: 'b', state: 'stopping' }),
    job({ id: 'd', state: 'queued' })
  ];
  expect(transitions(before, after)).toEqual([
    { job: after[1], before: 'running', after: 'stopping' },
    { job: after[2], before: null, after: 'queued' },
    { job: before[2], before: 'running', after: null }
  ]);
});

describe('interval', () => {
  const down = { state: 'down' as const, since: null };
  it.each<[string, Partial<IJob> | null, boolean, number]>([
    ['nobody looks', { state: 'starting' }, false, INTERVAL.hidden],
    ['it runs', {}, true, INTERVAL.visible],
    ['it has ended', { state: 'failed' }, true, INTERVAL.visible],
    ['it starts', { state: 'starting' }, true, INTERVAL.changing],
    ['its tunnel is down', { tunnel: down }, true, INTERVAL.changing],
    ['there is none', null, true, INTERVAL.visible]
  ])('while %s', (_, values, visible, expected) => {
    expect(interval(values && job(values), visible)).toBe(expected);
  });
});

describe('JobsModel', () => {
  let ask: jest.Mock<Promise<IJobList>>;
  let model: JobsModel;

  /** What the service answers from now on. */
  const answer = (...jobs: IJob[]) =>
    ask.mockImplementation(() =>
      Promise.resolve({ jobs, served_at: new Date(at(1800)).toISOString() })
    );
  const wait = (milliseconds: number) =>
    jest.advanceTimersByTimeAsync(milliseconds);

  beforeEach(async () => {
    ask = jest.fn<Promise<IJobList>, []>();
    answer(job());
    model = new JobsModel({ jobs: ask } as unknown as InterLinkService, ALICE);
    await wait(100);
  });
  afterEach(() => {
    model.dispose();
    jest.clearAllTimers();
  });

  it('asks at once', () => {
    expect(ask).toHaveBeenCalledTimes(1);
    expect([model.access, model.own]).toEqual(['ok', job()]);
  });

  it('knows the jobs of the owner of this server only', async () => {
    answer(job({ id: 'b', server: 'gpu' }), job({ owner: 'bob' }));
    await wait(60_000);
    expect(model.jobs.map(({ id }) => id)).toEqual(['b']);
    expect(model.own).toBeNull();
  });

  it('asks rarely while nobody looks, often while somebody does', async () => {
    await wait(59_000);
    expect(ask).toHaveBeenCalledTimes(1);
    await wait(1000);
    expect(ask).toHaveBeenCalledTimes(2);
    model.visible = true;
    await wait(100);
    expect(ask).toHaveBeenCalledTimes(3);
    await wait(10_000);
    expect(ask).toHaveBeenCalledTimes(4);
  });

  it('asks most often while the job changes', async () => {
    answer(job({ state: 'stopping' }));
    model.visible = true;
    await wait(100);
    ask.mockClear();
    await wait(9000);
    expect(ask).toHaveBeenCalledTimes(3);
  });

  it('tells of changes, but not of the first answer', async () => {
    const moved = record(model.moved);
    const refreshed = record(model.refreshed);
    await wait(60_000);
    expect([moved, refreshed.length]).toEqual([[], 1]);
    const ended = job({ state: 'timeout' });
    answer(ended);
    await wait(60_000);
    expect(moved).toEqual([
      [{ job: ended, before: 'running', after: 'timeout' }]
    ]);
  });

  it('counts time by the clock of the service', async () => {
    const now = model.now();
    expect(Math.abs(now - at(1800))).toBeLessThanOrEqual(100);
    await wait(5000);
    expect(model.now() - now).toBe(5000);
  });

  it('keeps what it knows when the service is lost, and asks less', async () => {
    model.visible = true;
    await wait(100);
    ask.mockRejectedValue(new ServiceError('Unreadable', 'Restarting.', 503));
    await wait(10_000);
    expect([model.access, model.problem]).toEqual([
      'unreachable',
      'Restarting.'
    ]);
    expect(model.own).toEqual(job());
    ask.mockClear();
    await wait(290_000);
    expect(ask.mock.calls.length).toBeLessThan(15); // of 29

    const moved = record(model.moved);
    answer(job());
    await wait(300_000);
    expect([model.access, model.problem, moved]).toEqual(['ok', '', []]);
  });

  it('is silent once disposed', async () => {
    const refreshed = record(model.refreshed);
    ask.mockClear();
    let deliver: (list: IJobList) => void = () => undefined;
    ask.mockReturnValue(new Promise(resolve => (deliver = resolve)));
    await wait(60_000);
    model.dispose();
    deliver({ jobs: [], served_at: '2026-11-22T12:30:00Z' });
    await wait(300_000);
    expect(ask).toHaveBeenCalledTimes(1);
    expect([refreshed, model.own]).toEqual([[], job()]);
  });
});

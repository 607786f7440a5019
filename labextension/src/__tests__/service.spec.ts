import { PageConfig } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import {
  hubHome,
  InterLinkService,
  ServiceError,
  serviceUrl
} from '../service';
import { job } from './fixtures';

/** A service behind a network that always answers the same. */
function serviceWith(answer: () => Response | Error) {
  const requests: Request[] = [];
  const fetch = (input: RequestInfo | URL) => {
    requests.push(input as Request);
    const response = answer();
    return response instanceof Error
      ? Promise.reject(response)
      : Promise.resolve(response);
  };
  const settings = ServerConnection.makeSettings({
    fetch,
    token: 'page-token'
  });
  const url = 'http://localhost/services/interlink/';
  return { service: new InterLinkService(url, settings), requests };
}

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status });
const html = (status: number) =>
  new Response('<html>Service unavailable</html>', { status });

describe('the way to the service', () => {
  const options = ['hubPrefix', 'hubHost', 'interlinkServiceUrl'];
  beforeEach(() => options.forEach(name => PageConfig.setOption(name, '')));

  it('is unknown without a hub', () => {
    expect(serviceUrl()).toBeNull();
  });

  it('follows from the hub of the page', () => {
    PageConfig.setOption('hubPrefix', '/lab/hub/');
    expect(serviceUrl()).toBe('/lab/services/interlink/');
    expect(hubHome()).toBe('/lab/hub/home');
  });

  it('may be configured', () => {
    PageConfig.setOption('hubPrefix', '/hub/');
    PageConfig.setOption('interlinkServiceUrl', 'https://interlink.hub.org/');
    expect(serviceUrl()).toBe('https://interlink.hub.org/');
  });
});

describe('InterLinkService', () => {
  it('asks for the jobs with the token of the page', async () => {
    const answer = { jobs: [job()], served_at: '2026-11-22T12:30:00Z' };
    const { service, requests } = serviceWith(() => json(answer));
    expect(await service.jobs()).toEqual(answer);
    expect(requests[0].url).toMatch(
      /^http:\/\/localhost\/services\/interlink\/api\/v1\/jobs(\?|$)/
    );
    expect(requests[0].headers.get('Authorization')).toBe('token page-token');
  });

  it('asks for a log by offset', async () => {
    const { service, requests } = serviceWith(() => json({}));
    await service.log('uid/../x', 'note book', 42);
    const url = new URL(requests[0].url);
    expect(url.pathname).toBe(
      '/services/interlink/api/v1/jobs/uid%2F..%2Fx/logs/note%20book'
    );
    expect(url.searchParams.get('offset')).toBe('42');
  });

  const refusal = { reason: 'Forbidden', message: 'Not your job.' };
  it.each<[string, () => Response | Error, Partial<ServiceError>]>([
    [
      'a refusal in words',
      () => json(refusal, 403),
      { ...refusal, status: 403, access: 'denied' }
    ],
    [
      'no token any more',
      () => json({ reason: 'Unauthorized', message: '' }, 401),
      { reason: 'Unauthorized', status: 401, access: 'denied' }
    ],
    [
      'a hub without the service',
      () => html(404),
      { reason: 'Unreadable', message: '', status: 404, access: 'absent' }
    ],
    [
      'a proxy while the service restarts',
      () => html(503),
      { reason: 'Unreadable', message: '', status: 503, access: 'unreachable' }
    ],
    [
      'a page where a document should be',
      () => html(200),
      { reason: 'Unreadable', status: 200, access: 'unreachable' }
    ],
    [
      'no network',
      () => new TypeError('Failed to fetch'),
      { reason: 'Unreachable', status: 0, access: 'unreachable' }
    ]
  ])('tells %s', async (_, answer, expected) => {
    const { service } = serviceWith(answer);
    const error: unknown = await service
      .jobs()
      .catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ServiceError);
    expect(error).toMatchObject(expected);
  });
});

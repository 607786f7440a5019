/**
 * Calls of the hub service, with the token that JupyterHub put into the page.
 *
 * The service lives beside the notebook server, not in it, so that it still answers
 * when the job has ended. Owns URLs and errors; knows nothing of timing or screens.
 */

import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Access, IJobList, ILogChunk } from './tokens';

/** Bytes to ask for at once; the most that the service gives. */
const CHUNK = 256 * 1024;

/** A refusal or failure of the service, or of the way to it. */
export class ServiceError extends Error {
  /**
   * @param reason - CamelCase word of the service; `Unreachable` when nothing answered,
   *   `Unreadable` when something else answered (a proxy's error page).
   * @param message - the service's sentence for people; empty when it said none.
   * @param status - the HTTP status; 0 when nothing answered.
   */
  constructor(
    readonly reason: string,
    message: string,
    readonly status: number
  ) {
    super(message);
    this.name = 'ServiceError';
  }

  /** What this error says about reaching the service. */
  get access(): Access {
    if (this.status === 401 || this.status === 403) {
      return 'denied';
    }
    return this.status === 404 ? 'absent' : 'unreachable';
  }
}

/** Where the hub service is, or `null` when no hub started this page. */
export function serviceUrl(): string | null {
  const configured = PageConfig.getOption('interlinkServiceUrl');
  if (configured) {
    return configured;
  }
  const prefix = PageConfig.getOption('hubPrefix');
  if (!prefix) {
    return null;
  }
  const host = PageConfig.getOption('hubHost');
  return host + prefix.replace(/hub\/$/, 'services/interlink/');
}

/** The hub's own page of the user's servers. */
export function hubHome(): string {
  const host = PageConfig.getOption('hubHost');
  return URLExt.join(host + PageConfig.getOption('hubPrefix'), 'home');
}

export class InterLinkService {
  /**
   * @param url - base URL of the service.
   * @param settings - those of the notebook server, for their token and `fetch`.
   */
  constructor(url: string, settings: ServerConnection.ISettings) {
    const { fetch, Request, Headers, token } = settings;
    const baseUrl = URLExt.normalize(url);
    this._settings = ServerConnection.makeSettings({
      baseUrl,
      fetch,
      Request,
      Headers,
      token
    });
  }

  /** All jobs that the visiting user may see. */
  jobs(): Promise<IJobList> {
    return this._get('api/v1/jobs');
  }

  /** The page of a job, for people; it asks them to log in if need be. */
  jobPage(id: string): string {
    return URLExt.join(this._settings.baseUrl, 'jobs', encodeURIComponent(id));
  }

  /** A piece of a log from a byte offset on; a negative one counts from the end. */
  log(id: string, container: string, offset: number): Promise<ILogChunk> {
    const path = URLExt.join(
      'api/v1/jobs',
      encodeURIComponent(id),
      'logs',
      encodeURIComponent(container)
    );
    return this._get(`${path}?offset=${offset}&limit=${CHUNK}`);
  }

  private async _get<T>(path: string): Promise<T> {
    const url = URLExt.join(this._settings.baseUrl, path);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, {}, this._settings);
    } catch {
      throw new ServiceError('Unreachable', '', 0);
    }
    let body: unknown;
    try {
      body = await response.json();
    } catch {
      throw new ServiceError('Unreadable', '', response.status);
    }
    if (!response.ok) {
      const { reason, message } = body as { reason?: string; message?: string };
      throw new ServiceError(
        reason ?? 'Unreadable',
        message ?? '',
        response.status
      );
    }
    return body as T;
  }

  private _settings: ServerConnection.ISettings;
}

/**
 * Icons of the panel and of the kinds of state; drawn here, coloured by the theme.
 */

import { LabIcon } from '@jupyterlab/ui-components';

import type { StateKind } from './states';

/** A 16 × 16 drawing whose lines take the colour of the theme's icons. */
function draw(name: string, shapes: string): LabIcon {
  return new LabIcon({
    name: `jupyterlab-interlink:${name}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16"><g class="jp-icon3" fill="#616161">${shapes}</g></svg>`
  });
}

/** A laptop's link to a rack: the panel's own icon. */
export const jobIcon = draw(
  'job',
  '<path d="M7 2h7a1 1 0 0 1 1 1v3a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V3a1 1 0 0 1 1-1zm.5 1.5v2h6v-2zm4 .5h1v1h-1z"/>' +
    '<path d="M7 9h7a1 1 0 0 1 1 1v3a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1v-3a1 1 0 0 1 1-1zm.5 1.5v2h6v-2zm4 .5h1v1h-1z"/>' +
    '<path d="M1 4h4v1.5H2.5v5H5V12H1z"/>'
);

const RING =
  '<path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11z"/>';
const DISC = 'M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z';

/** One shape for each kind, so that colour is never the only sign. */
export const stateIcons: Record<StateKind, LabIcon> = {
  waiting: draw(
    'waiting',
    `${RING}<path d="M7.25 4h1.5v3.7l2.4 1.4-.75 1.3-3.15-1.9z"/>`
  ),
  running: draw('running', `${RING}<path d="M6.25 4.75v6.5L11.5 8z"/>`),
  done: draw(
    'done',
    `<path fill-rule="evenodd" d="${DISC}M4.3 8l2.5 2.7 5-5.1-1.1-1-3.9 4L5.4 7z"/>`
  ),
  failed: draw(
    'failed',
    `<path fill-rule="evenodd" d="${DISC}M7.2 3.8v5h1.6v-5zm0 6.4v1.7h1.6v-1.7z"/>`
  ),
  unknown: draw(
    'unknown',
    `${RING}<path d="M7.3 10.4h1.5v1.5H7.3zM5.4 6.6C5.4 5 6.5 4 8 4s2.6 1 2.6 2.3c0 1.7-1.8 1.9-1.8 3.2H7.3c0-2 1.7-2.1 1.7-3.2 0-.5-.4-.8-1-.8-.7 0-1.1.4-1.1 1.1z"/>`
  )
};

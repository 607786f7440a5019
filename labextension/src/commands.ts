/**
 * Commands of the extension.
 */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';

import { jobIcon } from './icons';
import type { JobPanel } from './panel';

export namespace CommandIDs {
  /** Show the job panel and put the keyboard into it. */
  export const openPanel = 'interlink:open-panel';
}

export function addCommands(
  app: JupyterFrontEnd,
  panel: JobPanel,
  trans: TranslationBundle
): void {
  app.commands.addCommand(CommandIDs.openPanel, {
    label: trans.__('Show Job'),
    caption: trans.__(
      'Show the batch job that this notebook runs in, and its log'
    ),
    icon: jobIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => app.shell.activateById(panel.id)
  });
}

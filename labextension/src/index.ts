/**
 * The plugins: the model of the user's jobs, and the panel that shows them.
 */

import { ILayoutRestorer } from '@jupyterlab/application';
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addCommands, CommandIDs } from './commands';
import { JobsModel } from './jobs';
import { JobPanel } from './panel';
import { hubHome, InterLinkService, serviceUrl } from './service';
import { IJobsModel } from './tokens';

/** Place among the right panels; third-party ones stand from 501 to 899. */
const RANK = 600;

/** State entry: the panel has been shown once, the user knows it. */
const SHOWN = 'jupyterlab-interlink:shown';

/** Provides `null` where no hub started this page. */
const model: JupyterFrontEndPlugin<IJobsModel | null> = {
  id: 'jupyterlab-interlink:model',
  description: 'Keeps the batch jobs of the user up to date.',
  autoStart: true,
  provides: IJobsModel,
  activate: (app: JupyterFrontEnd) => {
    const url = serviceUrl();
    if (url === null) {
      return null;
    }
    const service = new InterLinkService(
      url,
      app.serviceManager.serverSettings
    );
    return new JobsModel(service, {
      owner: PageConfig.getOption('hubServerUser'),
      server: PageConfig.getOption('hubServerName')
    });
  }
};

const panel: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-interlink:panel',
  description: 'Shows the job that this notebook runs in, and its log.',
  autoStart: true,
  optional: [
    IJobsModel,
    ITranslator,
    ILayoutRestorer,
    ICommandPalette,
    IStateDB
  ],
  activate: (
    app: JupyterFrontEnd,
    model: IJobsModel | null,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    state: IStateDB | null
  ) => {
    if (!model) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('jupyterlab_interlink');
    const panel = new JobPanel({ model, trans, home: hubHome() });
    app.shell.add(panel, 'right', { rank: RANK });
    restorer?.add(panel, panel.id);
    addCommands(app, panel, trans);
    palette?.addItem({
      command: CommandIDs.openPanel,
      category: trans.__('interLink')
    });
    if (state) {
      void showOnce(app, panel, model, state);
    }
  }
};

/** Show the panel by itself the first time that it has a job to show. */
async function showOnce(
  app: JupyterFrontEnd,
  panel: JobPanel,
  model: IJobsModel,
  state: IStateDB
): Promise<void> {
  await app.restored;
  if (await state.fetch(SHOWN)) {
    return;
  }
  const show = () => {
    if (model.own) {
      model.refreshed.disconnect(show);
      app.shell.activateById(panel.id);
      void state.save(SHOWN, true);
    }
  };
  model.refreshed.connect(show);
  show();
}

export default [model, panel];

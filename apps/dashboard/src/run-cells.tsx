import { decimal } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { Progress, Status } from './parts.js';
import { link } from './router.js';

/** The heads of the cells that every table of runs has. */
export function RunHeads() {
  return (
    <>
      <th scope="col">run</th>
      <th scope="col">status</th>
      <th scope="col">step</th>
      <th scope="col" class="number">
        loss
      </th>
    </>
  );
}

/** The cells of one run, under `RunHeads`. */
export function RunCells({ run }: { run: RunView }) {
  return (
    <>
      <th scope="row" class="run-name">
        <a href={link(['runs', run.runId])}>{run.runId}</a>
      </th>
      <td>
        <Status status={run.status} />
      </td>
      <td class="run-progress">
        <Progress {...run} />
      </td>
      <td class="number">{decimal(run.loss)}</td>
    </>
  );
}

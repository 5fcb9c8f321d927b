import { resolve } from 'node:path';
import { RunRows, withRun } from '@weft/client';
import { count, isJsonObject, WeftError } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { readJsonFile, shortPath } from '@weft/files';
import type { CommandContext } from '../context.js';
import { EXPORT_FORMATS } from '../export/formats.js';
import { refuseExisting } from '../export/refuse-existing.js';
import { EXIT } from '../report-error.js';
import { print, printJson } from '../terminal.js';

/** A name of `EXPORT_FORMATS`. */
export type ExportFormatName = keyof typeof EXPORT_FORMATS;

/** Options of `weft export`. */
export interface ExportOptions {
  readonly format: ExportFormatName;
  readonly output?: string;
}

/**
 * `weft export`: every curve of a run in a form that other tools read.
 *
 * @throws WeftError `already_exists` for an output that is there, `failed_precondition` for a run without rows on this machine
 */
export async function exportRun(context: CommandContext, text: string, options: ExportOptions): Promise<number> {
  const { terminal, json } = context;
  const format = EXPORT_FORMATS[options.format];
  return withRun(context, text, async ({ run }) => {
    const path = resolve(options.output ?? format.nameOf(run.runId));
    await refuseExisting(path);
    const rows = await RunRows.open(run);
    if (rows.lastStep === 0) throw nothingToExport(run);
    const config = await readJsonFile(`${run.directory}/config.json`).catch(() => undefined);
    await format.write(path, { run, rows, config: isJsonObject(config) ? config : {} });
    const { lastStep, names } = rows;
    if (json) printJson(terminal, { runId: run.runId, format: options.format, path, lastStep, curves: names.length });
    else print(terminal, `${shortPath(path)}: ${count(lastStep)} steps, ${names.length} curves.`);
    return EXIT.done;
  });
}

function nothingToExport({ runId, step, directory }: RunView): WeftError {
  return step === 0
    ? new WeftError('failed_precondition', `run ${runId} has trained no step yet`, { hint: 'wait for its first one' })
    : new WeftError(
        'failed_precondition',
        `the rows of run ${runId} are not on this machine: there is no ${directory}/metrics.jsonl`,
        {
          hint: 'export it on the machine of its coordinator',
        },
      );
}

import { resolve } from 'node:path';
import { large } from '@weft/common';
import type { Precision } from '@weft/config';
import { shortPath } from '@weft/files';
import { type ExportedPart, exportWeights, importWeights } from '@weft/weights';
import type { CommandContext } from '../context.js';
import { findCheckpointFolder } from '../models/find-checkpoint.js';
import { EXIT } from '../report-error.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft weights import`. */
export interface ImportCommandOptions {
  readonly out: string;
  readonly featureLayer?: number;
  readonly outputNorm: boolean;
}

/** `weft weights import`: a checkpoint from public weights, and the settings of a run that fits. */
export async function weightsImport(
  { terminal, json }: CommandContext,
  folder: string,
  { out, featureLayer, outputNorm }: ImportCommandOptions,
): Promise<number> {
  const imported = await importWeights({ from: resolve(folder), to: resolve(out), featureLayer, outputNorm });
  const { parts, parameters, yaml, notes } = imported;
  if (json) printJson(terminal, imported);
  else {
    print(
      terminal,
      `Imported ${parts.join(' and ')}, ${large(parameters)} parameters, into ${shortPath(resolve(out))}.`,
    );
    for (const note of notes) print(terminal, note);
    print(terminal, `These settings of a run fit, and are in ${shortPath(resolve(out, 'settings.yaml'))}:`);
    print(terminal, yaml.trimEnd());
  }
  return EXIT.done;
}

/** The options of `weft weights export`. */
export interface ExportCommandOptions {
  readonly out: string;
  readonly part: ExportedPart;
  readonly precision: Precision;
  readonly step?: number;
}

/** `weft weights export`: a run as other tools read it. */
export async function weightsExport(
  { terminal, json, home }: CommandContext,
  model: string,
  { out, part, precision, step }: ExportCommandOptions,
): Promise<number> {
  const checkpoint = await findCheckpointFolder(home, model, step);
  const exported = await exportWeights({ checkpoint, to: resolve(out), part, precision });
  const { architecture, parameters, files, notes } = exported;
  if (json) printJson(terminal, { checkpoint, ...exported });
  else {
    const where = shortPath(resolve(out));
    print(terminal, `Exported ${large(parameters)} parameters of ${shortPath(checkpoint)} into ${where}.`);
    print(terminal, `It is of ${architecture}, in ${files.length === 1 ? 'one file' : `${files.length} files`}.`);
    for (const note of notes) print(terminal, note);
  }
  return EXIT.done;
}

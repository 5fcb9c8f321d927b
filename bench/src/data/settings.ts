import { join } from 'node:path';
import type { DataConfig, ModelConfig, SourceKind } from '@weft/config';
import { recipe } from '@weft/recipes';

/** What of a run its data depend on: one source of one kind, or those of the demo. */
export function dataSettings(options: {
  readonly directory: string;
  readonly index: string;
  readonly kind?: SourceKind;
  readonly tokenizer?: string;
  readonly imageSize?: number;
}): { readonly data: DataConfig; readonly model: ModelConfig } {
  const { directory, index, kind, tokenizer, imageSize } = options;
  const { data, model } = recipe('debugTiny');
  const one = kind === undefined ? {} : { sources: { [kind]: kind }, weights: { [kind]: 1 }, datasets: {} };
  return {
    data: { ...data, ...one, directory, index, tokenizer: tokenizer ?? data.tokenizer },
    model: { ...model, vision: { ...model.vision, imageSize: imageSize ?? model.vision.imageSize } },
  };
}

/** The files of a bench in its folder. */
export const benchFolders = (folder: string) => ({
  pictures: join(folder, 'pictures'),
  lines: join(folder, 'lines'),
  tokenizer: join(folder, 'tokenizer.json'),
});

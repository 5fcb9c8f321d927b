import type { SourceId } from '@weft/common';
import type { Dataset } from '../dataset/dataset.js';
import { IMAGE_ENTRY, type Piece } from '../packing/piece.js';

/**
 * A packed sequence for people: one paragraph per piece, `⟨image: shard member⟩` where an image stands, `⟨end⟩` where
 * a document ends.
 *
 * @throws `invalid_argument` when there is no such sequence.
 */
export async function describeSequence(dataset: Dataset, source: SourceId, index: number): Promise<string> {
  const sequence = await dataset.readSequence(source, index);
  const images = sequence.pieces.reduce((sum, piece) => sum + piece.images.length, 0);
  const lines = [
    `${source} sequence ${index}: ${sequence.positions} of ${dataset.limits.sequenceLength} positions, ` +
      `${counted(sequence.pieces.length, 'piece')}, ${counted(images, 'image')}`,
  ];
  for (const [number, piece] of sequence.pieces.entries()) {
    const part = piece.part === 0 ? '' : `, continued (part ${piece.part + 1})`;
    lines.push('', `piece ${number + 1}: document ${piece.document}${part}, ${piece.positions} positions`);
    lines.push(await textOf(dataset, source, piece));
  }
  return lines.join('\n');
}

async function textOf(dataset: Dataset, source: SourceId, piece: Piece): Promise<string> {
  const { tokenizer } = dataset;
  let text = '';
  let image = 0;
  let run: number[] = [];
  const endRun = () => {
    text += tokenizer.decode(run);
    run = [];
  };
  for (const entry of piece.entries) {
    if (entry === IMAGE_ENTRY) {
      endRun();
      text += `⟨image: ${await dataset.imageName(source, piece.images[image++]!)}⟩`;
    } else if (entry === tokenizer.endOfTextId) {
      endRun();
      text += '⟨end⟩';
    } else {
      run.push(entry);
    }
  }
  endRun();
  return text;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

import { join } from 'node:path';
import type { SourceId } from '@weft/common';
import type { SourceKind } from '@weft/config';
import type { TarEntry } from '../tar/walk-tar.js';
import { type DocumentPart, type SourceDocument, textParts } from './document.js';
import { captionedContent, interleavedContent } from './sample-content.js';
import { ShardFile } from './shard-file.js';
import { textDocuments } from './text-shard.js';
import { webDatasetSamples } from './web-dataset.js';

/**
 * The documents of one shard of a source, in order. A captioned sample is its image, then its caption.
 *
 * @param shardNumber the number that image locations carry.
 */
export async function* shardDocuments(
  directory: string,
  source: SourceId,
  kind: SourceKind,
  shardName: string,
  shardNumber: number,
): AsyncGenerator<SourceDocument, void, undefined> {
  const path = join(directory, source, shardName);
  if (kind === 'text') {
    yield* textDocuments(path);
    return;
  }
  const shard = await ShardFile.open(path);
  try {
    for await (const sample of webDatasetSamples(shard)) {
      const name = `${shardName} ${sample.key}`;
      const image = (entry: TarEntry): DocumentPart => ({
        kind: 'image',
        image: { shard: shardNumber, offset: entry.offset, bytes: entry.bytes },
        name: entry.name,
      });
      if (kind === 'captioned') {
        const content = await captionedContent(shard, sample);
        yield { name, parts: [image(content.image), ...textParts(content.caption)] };
      } else {
        const content = await interleavedContent(shard, sample);
        yield {
          name,
          parts: content.flatMap((part) => ('image' in part ? [image(part.image)] : [...textParts(part.text)])),
        };
      }
    }
  } finally {
    await shard.close();
  }
}

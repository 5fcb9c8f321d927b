import type { JsonObject } from '@weft/common';
import { WeftError } from '@weft/common';
import type { ImagePreprocessing, PerColour } from '@weft/config';

import { Fields } from './config-fields.js';

/** What an encoder expects of its images. Into how many of them a picture is cut is the run's own choice. */
export type EncoderImages = Omit<ImagePreprocessing, 'subImages'>;

/** PIL's number of its bicubic filter. */
const PIL_BICUBIC = 3;
const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
const CLIP_DEVIATION = [0.26862954, 0.26130258, 0.27577711];

/**
 * Reads the `preprocessor_config.json` of `transformers` for an encoder of this image size.
 *
 * @throws WeftError `invalid_argument` for a preprocessing that Weft cannot follow, `corrupt_data` for wrong fields
 */
export function readProcessorConfig(config: JsonObject, where: string, imageSize: number): EncoderImages {
  const fields = new Fields(config, where);
  for (const step of ['do_resize', 'do_rescale', 'do_normalize']) fields.must(step, true);
  fields.must('resample', PIL_BICUBIC);
  const size = sizeOf(config.size, 'size', where);
  const crop = fields.flag('do_center_crop', true) ? sizeOf(config.crop_size, 'crop_size', where) : undefined;
  const isCropped = size.kind === 'shortestEdge';
  const result = crop?.pixels ?? size.pixels;
  if (size.pixels !== imageSize || result !== imageSize || (isCropped && crop === undefined))
    throw new WeftError(
      'invalid_argument',
      `${where} resizes to ${size.pixels} pixels and crops to ${result}, but the encoder reads images of ${imageSize} pixels`,
      { hint: 'correct the file, or remove it and set data.images by hand' },
    );
  return {
    fit: isCropped ? 'crop' : 'stretch',
    interpolation: 'bicubic',
    mean: perColour(fields.colours('image_mean', CLIP_MEAN)),
    deviation: perColour(fields.colours('image_std', CLIP_DEVIATION)),
  };
}

/** Older files say `224`, newer ones `{ shortest_edge: 224 }` or `{ height: 224, width: 224 }`. */
function sizeOf(value: unknown, field: string, where: string) {
  if (typeof value === 'number') return { kind: field === 'size' ? 'shortestEdge' : 'square', pixels: value };
  const size = new Fields({ [field]: value }, where).group(field);
  if (size?.has('shortest_edge')) return { kind: 'shortestEdge', pixels: size.count('shortest_edge') };
  const height = size?.count('height') ?? Number.NaN;
  if (size?.count('width') === height) return { kind: 'square', pixels: height };
  throw new WeftError(
    'invalid_argument',
    `${where}: ${field} is ${JSON.stringify(value)}, but Weft reads squares only`,
  );
}

/** Reads `preprocess_cfg` of an `open_clip_config.json`; what it leaves out is CLIP's. Errors as `readProcessorConfig`. */
export function readOpenClipPreprocessing(config: JsonObject, where: string): EncoderImages {
  const fields = new Fields(config, where).group('preprocess_cfg') ?? new Fields({}, where);
  fields.must('interpolation', 'bicubic');
  const mode = fields.oneOf('resize_mode', ['shortest', 'squash'], 'shortest');
  return {
    fit: mode === 'squash' ? 'stretch' : 'crop',
    interpolation: 'bicubic',
    mean: perColour(fields.colours('mean', CLIP_MEAN)),
    deviation: perColour(fields.colours('std', CLIP_DEVIATION)),
  };
}

/** The `preprocessor_config.json` for `transformers` of a run. */
export function writeProcessorConfig(
  { fit, mean, deviation }: EncoderImages,
  imageSize: number,
  processor: string,
): JsonObject {
  const square = { height: imageSize, width: imageSize };
  return {
    image_processor_type: processor,
    do_convert_rgb: true,
    do_resize: true,
    size: fit === 'crop' ? { shortest_edge: imageSize } : square,
    resample: PIL_BICUBIC,
    do_center_crop: fit === 'crop',
    ...(fit === 'crop' ? { crop_size: square } : {}),
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [mean.red, mean.green, mean.blue],
    image_std: [deviation.red, deviation.green, deviation.blue],
  };
}

function perColour([red, green, blue]: readonly [number, number, number]): PerColour {
  return { red, green, blue };
}

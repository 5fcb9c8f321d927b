import type { ModelConfig } from '@weft/config';
import { connectorParameters } from './connector.js';
import { decoderParameters } from './decoder.js';
import { type ParameterSpec, under } from './parameters.js';
import { visionEncoderParameters } from './vision-encoder.js';

/** Every parameter of the model in the order the forward pass meets them: vision encoder, connector, decoder. */
export function modelParameters(model: ModelConfig): readonly ParameterSpec[] {
  return [
    ...under('vision', visionEncoderParameters(model.vision)),
    ...under('connector', connectorParameters(model)),
    ...under('decoder', decoderParameters(model.decoder)),
  ];
}

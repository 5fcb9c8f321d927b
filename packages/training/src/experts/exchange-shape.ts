import type { ExchangeShape } from '@weft/collectives';
import type { RunConfig } from '@weft/config';
import { moeShape } from '@weft/model';
import { placeExperts } from '@weft/topology';

/** What ranks and expert workers exchange when so many of the latter take part; all come to the same from the same run. */
export function exchangeShape({ model, microbatchSize }: RunConfig, expertWorkers: number): ExchangeShape {
  const { experts, groups, capacity } = moeShape(model, microbatchSize);
  const precision = model.decoder.moe?.exchangePrecision ?? 'fp32';
  return { placement: placeExperts(experts, expertWorkers), groups, capacity, width: model.decoder.width, precision };
}

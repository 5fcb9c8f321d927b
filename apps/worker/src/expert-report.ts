import type { ExpertReport as WireReport } from '@weft/proto';
import type { ExpertReport } from '@weft/training';

/** What the MoE layers did, for the wire; undefined for dense models. */
export function expertReport(report: ExpertReport | undefined): WireReport | undefined {
  if (report === undefined) return undefined;
  const { layers, ...exchange } = report;
  return {
    ...exchange,
    layers: layers.map(({ routed, dropped, ...means }) => ({ ...means, routed: [...routed], dropped: [...dropped] })),
  };
}

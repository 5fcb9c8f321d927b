import { bytes, duration, percent } from '../format.js';
import { listOf, numberOf, objectOf } from './raw-fields.js';
import type { StepMetrics } from './step-metrics.js';

type ExpertMetrics = NonNullable<StepMetrics['experts']>;

/** Reads what the MoE layers did from a line of `metrics.jsonl`; what is not there is 0, or nothing by expert. */
export function parseExperts(raw: Readonly<Record<string, unknown>>): ExpertMetrics {
  return {
    layers: listOf(raw.layers).map((layer) => {
      const of = objectOf(layer);
      return {
        layer: measure(of.layer),
        routed: listOf(of.routed).map(measure),
        dropped: listOf(of.dropped).map(measure),
        droppedShare: measure(of.droppedShare),
        loadBalanceLoss: measure(of.loadBalanceLoss),
        routerZLoss: measure(of.routerZLoss),
        routerEntropy: measure(of.routerEntropy),
      };
    }),
    imbalance: listOf(raw.imbalance).map(measure),
    bytesSent: measure(raw.bytesSent),
    bytesReceived: measure(raw.bytesReceived),
    waitingSeconds: measure(raw.waitingSeconds),
  };
}

/** A line for every MoE layer, and one for the exchange with the expert workers where there was one. */
export function expertFacts({ layers, imbalance, ...exchange }: ExpertMetrics): [string, string][] {
  const ofLayers = layers.map(({ layer, droppedShare, loadBalanceLoss, routerZLoss, routerEntropy }, index) => {
    const load = `busiest ${(imbalance[index] ?? 0).toFixed(2)} × the mean, ${percent(droppedShare)} dropped`;
    const router = `router entropy ${routerEntropy.toFixed(2)}, z ${routerZLoss.toFixed(2)}`;
    const text = `layer ${layer}: ${load}, load balance ${loadBalanceLoss.toFixed(2)}, ${router}`;
    return [index === 0 ? 'experts' : '', text] as [string, string];
  });
  const { bytesSent, bytesReceived, waitingSeconds } = exchange;
  if (bytesSent === 0) return ofLayers;
  const text = `${bytes(bytesSent)} sent, ${bytes(bytesReceived)} received in the last step, ${duration(waitingSeconds)} spent waiting`;
  return [...ofLayers, ['exchange', text]];
}

const measure = (value: unknown): number => numberOf(value) ?? 0;

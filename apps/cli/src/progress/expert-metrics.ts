import { bytes, duration, percent } from '@weft/common';
import type { MoeReport } from '@weft/contracts';

/** A line for every MoE layer, and one for the exchange with the expert workers where there was one. */
export function expertFacts({ layers, ...exchange }: MoeReport): [string, string][] {
  const ofLayers = layers.map(
    ({ layer, imbalance, droppedShare, loadBalanceLoss, routerZLoss, routerEntropy }, index) => {
      const load = `busiest ${imbalance.toFixed(2)} × the mean, ${percent(droppedShare)} dropped`;
      const router = `router entropy ${routerEntropy.toFixed(2)}, z ${routerZLoss.toFixed(2)}`;
      const text = `layer ${layer}: ${load}, load balance ${loadBalanceLoss.toFixed(2)}, ${router}`;
      return [index === 0 ? 'experts' : '', text] as [string, string];
    },
  );
  const { bytesSent, bytesReceived, waitingSeconds } = exchange;
  if (bytesSent === 0) return ofLayers;
  const text = `${bytes(bytesSent)} sent, ${bytes(bytesReceived)} received in the last step, ${duration(waitingSeconds)} spent waiting`;
  return [...ofLayers, ['exchange', text]];
}

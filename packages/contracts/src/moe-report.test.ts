import { MoeReport as MoeReportMessage } from '@weft/proto';
import { expect, it } from 'vitest';
import { expertImbalance, type MoeReport, moeReportToProto } from './moe-report.js';

it('imbalance is 1 when even, E/2 at worst, and 0 when nothing was routed', () => {
  expect(expertImbalance([3, 3, 3, 3])).toBe(1);
  expect(expertImbalance([8, 8, 0, 0])).toBe(2);
  expect(expertImbalance([0, 0])).toBe(0);
});

it('a report crosses the wire unchanged', () => {
  const layer = { layer: 1, tokens: 6, routed: [8, 4], dropped: [1, 0], droppedShare: 1 / 12, imbalance: 4 / 3 };
  const losses = { routerEntropy: 0.5, loadBalanceLoss: 1.1, routerZLoss: 0.2 };
  const report: MoeReport = { layers: [{ ...layer, ...losses }], bytesSent: 7, bytesReceived: 9, waitingSeconds: 0.25 };
  const bytes = MoeReportMessage.encode(moeReportToProto(report)).finish();
  expect(MoeReportMessage.decode(bytes)).toEqual(report);
});

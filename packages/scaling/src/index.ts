export { readFitFile, writeFitFile } from './fits/fit-file.js';
export { FEWEST_SCALES } from './fits/fit-law.js';
export { type FitReport, isGrid, reportOnGrid, reportOnPoints, type Weighting } from './fits/fit-report.js';
export { NEIGHBOURS, type Optimum, optimaOfGrid } from './fits/optimum.js';
export { type GridPoint, LOSS, type Metric } from './fits/points.js';
export { readPoints } from './fits/read-points.js';
export { parameterCounts } from './laws/parameter-counts.js';
export {
  FORMS,
  type FormName,
  formula,
  type Interval,
  type LawInputs,
  type PowerLaw,
  SYMBOLS,
} from './laws/power-law.js';
export { levelText, type Prediction, predict } from './laws/predict.js';
export { publishedLaw } from './laws/published-laws.js';
export { barPlot } from './plots/bar-plot.js';
export { dotPlot, type RepeatedValue } from './plots/dot-plot.js';
export { lawPlot } from './plots/law-plot.js';
export { linePlot } from './plots/line-plot.js';

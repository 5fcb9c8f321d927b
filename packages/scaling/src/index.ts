export { type BackTest, leaveLargestOut, leaveOneOut } from './back-test.js';
export { type Provenance, readFitFile, writeFitFile } from './fit-file.js';
export { type Estimate, FEWEST_SCALES, type FitOptions, fitLaw, type LawFit } from './fit-law.js';
export { type FitReport, isGrid, reportOnGrid, reportOnPoints, type Weighting } from './fit-report.js';
export {
  type At,
  FORMS,
  type FormName,
  formula,
  type Interval,
  type LawForm,
  type LawStatistics,
  type PowerLaw,
  SYMBOLS,
  type Target,
  type Variable,
} from './law.js';
export { type LawPicture, lawPicture } from './law-picture.js';
export { type LinearFit, leastSquares, type Matrix } from './least-squares.js';
export { type LineGroup, type LinePicture, linePicture } from './line-picture.js';
export { bestOf, LOSS, type Metric } from './metric.js';
export { type Optimum, optimaOfGrid, optimumOfScale } from './optimum.js';
export { type AnalyticParameterCounts, gptParameters, parameterCounts } from './parameter-counts.js';
export { byScale, type GridPoint, type ScalePoint, scaleName } from './points.js';
export { DEFAULT_LEVEL, levelText, type Outside, type Prediction, predict } from './predict.js';
export { prior, priors } from './priors.js';
export { readPoints } from './read-points.js';
export { studentT, studentTWithin } from './student-t.js';

export { ADAM_UPDATE, adamInputs, adamUpdate } from './adam-update.js';
export {
  attention,
  attentionGradientInputs,
  attentionInputs,
  readablePositions,
} from './attention.js';
export { type Box, boxRuns, cut, elementsOf, type FilledBox, paste, wholeBox } from './box.js';
export { arrayOf, checkInputs, checkSomeInputs, checkValue, type FedInput } from './check-inputs.js';
export { sparseSoftmaxCrossEntropy } from './cross-entropy.js';
export { customGradient, preciseMatMul } from './custom-gradient.js';
export { byteSize, type DType, dtypeOfTensorflow, TENSORFLOW_DTYPES } from './dtype.js';
export { EagerExecutor, type EagerHost, javascriptExecutor } from './eager-executor.js';
export {
  CompletedPhaseRun,
  type Executor,
  type PhaseInputs,
  type PhaseRun,
  type StatePart,
  type StateValues,
} from './executor.js';
export { type FillState, HostExecutor } from './host-executor.js';
export type { HostArray, HostTensor } from './host-tensor.js';
export { KernelBackend } from './kernel-backend.js';
export { type Attrs, type AttrValue, OP_FAMILIES } from './ops.js';
export {
  elementCount,
  type LogicalAxes,
  type LogicalAxis,
  type Phase,
  type PhaseContext,
  type Program,
  type TensorSpec,
} from './program.js';
export { BLOCK_GRADIENT, recomputable } from './recomputable.js';
export { recordPhase } from './record.js';
export {
  infoAttrs,
  inputOf,
  intsIn,
  LOOP,
  type LoopBody,
  outputOf,
  type RecordedOp,
  type Recording,
  resultsOf,
  type ValueId,
  type ValueInfo,
} from './recording.js';
export { itemAt, required } from './required.js';
export { type DeviceSpan, type ResidentPart, type ResidentTensor, residentOnHost } from './resident.js';
export type { Pass } from './rewrite/edit.js';
export {
  formsOf,
  PRODUCT_FORMS,
  type Product,
  type ProductForm,
  productFlops,
  productName,
  productsOf,
  recordProducts,
  withProductForms,
} from './rewrite/product-forms.js';
export type { Recompute } from './rewrite/recompute.js';
export { type Precision, passes, type RewriteOptions, rewrite } from './rewrite/rewrite.js';
export type { ShapeInference } from './shape-inference.js';
export { tf } from './tf.js';
export {
  attrsFromTfjs,
  constantBytes,
  type TfjsAttr,
  type TfjsBinding,
  type TfjsTensorMetadata,
} from './tfjs-binding.js';
export { writeRows } from './write-rows.js';

import Tensors
struct DropoutStream { init(seed: UInt64, purpose: String, probability: Double) {} }
extension ConvolutionEngine { func fillDropoutMask(_ s: DropoutStream, _ w: UnsafeMutablePointer<UInt16>, wordCount: Int, step: Int, sample: Int) {} }

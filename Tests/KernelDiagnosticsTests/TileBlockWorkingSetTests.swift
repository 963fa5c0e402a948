import KernelDiagnostics
import Models
import Tensors
import Testing

/// The L2 that `doctor` states against the memory that kernels ask for.
@Suite struct TileBlockWorkingSetTests {
  @Test(arguments: InstructionSet.allCases.filter(\.isSupported))
  func itIsTheTransformedPartOfTheScratchMemory(instructionSet: InstructionSet) {
    let engine = NativeConvolutionEngine(instructionSet)
    let workingSet = TileBlockWorkingSet(engine).byteCount
    #expect(workingSet == 576 << 10)
    let geometry = ConvolutionGeometry(
      inputHeight: 8, inputWidth: 8, inputChannels: 64, outputChannels: 64, kernelSize: 3, stride: 1)
    let scratch = engine.scratchCount(geometry, MicrobatchRange(imageCount: 8))
    // Eight images and their gradients with borders; 36 blocks of a weight gradient. 16 floats separate matrices.
    let images = 2 * 8 * 10 * 10 * 64
    let weightGradient = 36 * (32 * 64 + 16)
    #expect(4 * (scratch - images - weightGradient - 2 * 36 * 16) == workingSet)
  }
}

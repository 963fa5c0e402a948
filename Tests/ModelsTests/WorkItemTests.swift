import Models
import Tensors
import Testing

/// How many microbatches a worker takes at once.
@Suite struct WorkItemTests {
  private static let geometry = ConvolutionGeometry(
    inputHeight: 8, inputWidth: 8, inputChannels: 64, outputChannels: 64, kernelSize: 3, stride: 1)

  @Test(.enabled(if: InstructionSet.allCases.contains(where: \.isSupported), "this CPU runs no native kernels"))
  func noWorkerIsBusyLongerThanWithOneAtATime() throws {
    let instructionSet = try #require(InstructionSet.allCases.filter(\.isSupported).first)
    let engine = NativeConvolutionEngine(instructionSet)
    func quotient(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
    #expect(engine.preferredImageCount(Self.geometry) == 8)
    for count in 0...40 {
      for workers in 1...9 {
        for images in [1, 2, 3, 8, 9] {
          let length = engine.microbatchesPerWorkItem(
            Self.geometry, imagesPerMicrobatch: images, microbatchCount: count, workerCount: workers)
          #expect(length >= 1 && length <= max(1, 8 / images))
          #expect(length * quotient(quotient(count, length), workers) <= max(1, quotient(count, workers)))
        }
      }
    }
    let alone = engine.microbatchesPerWorkItem(
      Self.geometry, imagesPerMicrobatch: 2, microbatchCount: 8, workerCount: 1)
    let shared = engine.microbatchesPerWorkItem(
      Self.geometry, imagesPerMicrobatch: 2, microbatchCount: 8, workerCount: 4)
    #expect(alone == 4 && shared == 2)
  }

  @Test func productsOfBLASAreOfOneMicrobatch() {
    let length = BLASConvolutionEngine().microbatchesPerWorkItem(
      Self.geometry, imagesPerMicrobatch: 1, microbatchCount: 8, workerCount: 1)
    #expect(length == 1)
  }
}

import Tensors
import Testing

/// Networks agree with an independent implementation on loss, logits, every gradient and five updates.
@Suite struct ModelVectorTests {
  /// Trax's networks, and one family that only tests have.
  private static let models = (1...4).map { ("wrn-22", $0) } + [("plain-16", 1), ("plain-16", 2)]

  private func run(_ model: String, _ widenFactor: Int) throws -> VectorRun {
    model == "wrn-22"
      ? try VectorRun(widenFactor: widenFactor)
      : try VectorRun(PlainResidualNetwork.graph(blocks: 2, widenFactor: widenFactor))
  }

  @Test(arguments: models)
  func lossLogitsAndGradients(model: String, widenFactor: Int) throws {
    let expected = try ModelVectors(model: model, widenFactor: widenFactor)
    let run = try run(model, widenFactor)
    try run.compareFirstStep(with: expected)
  }

  @Test(arguments: models)
  func fiveUpdates(model: String, widenFactor: Int) throws {
    let expected = try ModelVectors(model: model, widenFactor: widenFactor)
    let run = try run(model, widenFactor)
    for (i, loss) in expected.losses.enumerated() {
      let found = Double(try run.update().loss)
      #expect(abs(found - loss) < (i == 0 ? 1e-5 : 1e-4), "after \(i) updates: \(found)")
    }
  }
}

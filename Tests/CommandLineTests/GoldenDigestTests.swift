import Models
import TestSupport
import Testing

/// Digests of short runs that refactoring must not change.
///
/// They hold for every native instruction set and any number of ranks and threads. A change of the arithmetic updates them and
/// is listed in `CHANGELOG.md`. ``BitwiseReproducibilityTests`` compares ranks and threads; this suite compares versions.
@Suite(
  .serialized,
  .enabled(if: InstructionSet.allCases.contains(where: \.isSupported), "this CPU has no native kernels"))
struct GoldenDigestTests {
  @Test(arguments: [
    (10, 1, 64, 12, "0d73e1f57e2462742afd7f0fe04e421b9204ec9a249eb5ed38171e156aab2d91"),
    (22, 1, 64, 12, "bcbb42735801a850839a257b8be6aab968bdf21c1a950468a9972548a5276117"),
    (22, 2, 64, 8, "ed9f7af8370f813ec6aa268791cf88bbab084a8cf73875147732ea92373fb7c1"),
    (22, 4, 32, 4, "9781acb14f101147df018cf6f694c040d095097956e09075cb1da352fb5fdef8"),
    (28, 3, 16, 4, "25faf901a61a700c0a28348253bc6209f635ca829d844a4c94669e65974f9b8d"),
  ])
  func digestsOfSizes(
    depth: Int, widenFactor: Int, batchSize: Int, steps: Int, digest: String
  ) throws {
    let folder = try TemporaryDirectory()
    try Job(
      folder,
      [
        "train", "--depth", "\(depth)", "--widen-factor", "\(widenFactor)", "--batch-size", "\(batchSize)", "--steps",
        "\(steps)", "--data", "synthetic", "--seed", "5", "--eval-every", "0", "--checkpoint-every", "\(steps)",
        "--output-dir", "run",
      ]
    ).succeed()
    #expect(try folder.digest("run") == digest)
  }

  /// The digests of `docs/results/equal-bits.md`.
  @Test(arguments: [("fp32", "1fcb947f40696e1f"), ("bf16", "9f7c699916fe68c8")])
  func digestsOfWireFormats(wire: String, prefix: String) throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "50", "--wire", wire]).succeed()
    #expect(try folder.digest("run").hasPrefix(prefix))
  }
}

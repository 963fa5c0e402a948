import ArgumentParser
import Support
import Training

/// Prints the contents of a checkpoint.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Prints a checkpoint's tensors, step, settings and digest.",
    discussion: """
      The digest is one SHA-256 over names, shapes and bytes of all tensors of model and optimizer, in the order of their \
      names: checkpoints with equal digests are bitwise identical.
      """)

  @Argument(help: "\(HelpText.checkpoint)")
  var checkpoint: String
  @Flag(help: "Print the digest only.") var digest = false

  func run() throws {
    let opened = try Checkpoint(checkpoint)
    for warning in opened.warnings { StandardError.write("warning: \(warning)") }
    let sha256 = try opened.digest()
    if digest { return print(sha256) }
    let tensors = try opened.tensors()
    let width = tensors.map(\.name.count).max() ?? 0
    for tensor in tensors {
      print("\(tensor.name.leftAligned(width))  \(tensor.type)  \(tensor.shape)")
    }
    print("\n\(tensors.count) tensors, \(tensors.reduce(0) { $0 + $1.shape.elementCount }) elements")
    if let state = opened.state {
      print("\(opened.path): \(state.network) after step \(state.step)")
      print("stream position \(state.streamPosition), seed \(state.seed)")
      for (name, value) in state.configuration.sorted(by: { $0.key < $1.key }) {
        print("  \(name): \(value)")
      }
    }
    print("digest \(sha256)")
  }
}

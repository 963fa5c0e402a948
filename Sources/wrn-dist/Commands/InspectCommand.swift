import ArgumentParser
import Training

/// Shows what a checkpoint holds.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows a checkpoint's tensors, step, configuration and digest.",
    discussion: """
      The digest is one SHA-256 over names, shapes and bytes of all tensors in the order of their names, of model and \
      optimizer together: equal digests mean equal bits.
      """)

  @Argument(help: "A checkpoint folder, a run's folder (its latest checkpoint), or a .safetensors file.")
  var checkpoint: String
  @Flag(help: "Print only the digest.") var digest = false

  func run() throws {
    let opened = try Checkpoint(checkpoint)
    let sum = try opened.digest()
    if digest { return print(sum) }
    let tensors = try opened.tensors()
    let width = tensors.map(\.name.count).max() ?? 0
    for tensor in tensors {
      let name = tensor.name.padding(toLength: width, withPad: " ", startingAt: 0)
      print("\(name)  \(tensor.type)  \(tensor.shape)")
    }
    print("\n\(tensors.count) tensors, \(tensors.reduce(0) { $0 + $1.shape.elementCount }) elements")
    if let state = opened.state {
      print("\(opened.path): \(state.network) after step \(state.step)")
      print("stream position \(state.streamPosition), seed \(state.seed)")
      for (name, value) in state.configuration.sorted(by: { $0.key < $1.key }) {
        print("  \(name): \(value)")
      }
    }
    print("digest \(sum)")
  }
}

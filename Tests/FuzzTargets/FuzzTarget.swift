import Clusters
import Datasets
import Images
import Reports
import Training

/// A parser of files that other people may have written, for libFuzzer and for the tests of its corpus.
///
/// Every target reads a whole file from memory. An error that the parser throws is a result. A trap is a failure, and so
/// is a property that does not hold, such as a host file that changes when it is written and read again.
package enum FuzzTarget: String, CaseIterable, Sendable {
  /// Headers and tensors of checkpoints and `.safetensors` files.
  case safetensors
  /// The state of a checkpoint, `state.json`.
  case state
  /// Records and class names of CIFAR-10 and CIFAR-100.
  case cifar
  /// YAML of `--config`, `wrn-dist sweep` and `config.yaml`.
  case settings
  /// Host files of Open MPI, MPICH, PBS and Slurm.
  case hosts
  /// The repair of `metrics.jsonl` at a resume, and its readers.
  case metrics
  /// PNG and JPEG files of `predict`.
  case images

  /// The names of all targets.
  package static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }

  /// Parses a file.
  ///
  /// - Parameter bytes: The file's contents.
  package func run(_ bytes: UnsafeRawBufferPointer) {
    switch self {
    case .safetensors: Self.readSafetensors(bytes)
    case .state: Self.readState(bytes)
    case .cifar: Self.readImages(bytes)
    case .settings: Self.readSettings(bytes)
    case .hosts: Self.readHosts(bytes)
    case .metrics: Self.readMetrics(bytes)
    case .images: Self.decodeImage(bytes)
    }
  }
}

import Foundation
import TestSupport
import Testing

/// A `wrn-dist` command in a temporary directory, alone or under the real `mpirun`.
struct Job {
  /// Its working directory.
  let folder: TemporaryDirectory
  /// The number of ranks; if `nil`, it runs without `mpirun`.
  var ranks: Int?
  /// The command's arguments.
  var arguments: [String]
  /// Variables in addition to this process's.
  var environment: [String: String] = [:]
  /// More options of `mpirun`.
  var options: [String] = []

  /// Creates a command.
  init(_ folder: TemporaryDirectory, ranks: Int? = nil, _ arguments: [String]) {
    self.folder = folder
    self.ranks = ranks
    self.arguments = arguments
  }

  /// Creates a training run of a small model on synthetic images, of one or two seconds.
  static func training(
    _ folder: TemporaryDirectory, ranks: Int? = nil, output: String, _ more: [String] = []
  ) -> Job {
    Job(
      folder, ranks: ranks,
      [
        "train", "--depth", "10", "--batch-size", "16", "--data", "synthetic", "--eval-every", "0",
        "--output-dir", output,
      ] + more)
  }

  /// Runs it and waits for its end.
  func run(whileRunning: (pid_t) throws -> Void = { _ in }) throws -> ProcessRun.Output {
    if let ranks {
      var run = MPIRun(ranks: ranks, "wrn-dist", arguments)
      run.environment = environment
      run.workingFolder = folder.path
      run.options = options
      return try run.run(whileRunning: whileRunning)
    }
    return try ProcessRun(
      BuiltProducts.executable("wrn-dist"), arguments,
      environment: MPIRun.environment(adding: environment), workingFolder: folder.path,
      limit: .seconds(120)
    ).run(whileRunning: whileRunning)
  }

  /// Runs it and expects that it succeeds.
  @discardableResult
  func succeed(sourceLocation: SourceLocation = #_sourceLocation) throws -> ProcessRun.Output {
    let output = try run()
    #expect(output.exitCode == 0, "\(output.standardError)", sourceLocation: sourceLocation)
    return output
  }
}

extension TemporaryDirectory {
  /// Returns the digest of all tensors of a run's latest checkpoint, as `inspect --digest` prints it.
  func digest(_ run: String) throws -> String {
    let output = try Job(self, ["inspect", "--digest", run]).succeed()
    let digest = output.lines.first ?? ""
    #expect(digest.count == 64 && output.lines.count == 1)
    return digest
  }

  /// Returns the lines of a run's `metrics.jsonl` without speeds and times, which differ between runs.
  func metrics(_ run: String) -> [String] {
    read("\(run)/metrics.jsonl").split(separator: "\n").map {
      String($0.replacing(/"images_per_second":[^,]*,|,"(?:[a-z]+_seconds|slowest_rank)":[^,}]*/, with: ""))
    }
  }

  /// Returns the names in a directory; none if it does not exist.
  func names(_ name: String) -> [String] {
    let path = url.appendingPathComponent(name).path
    return ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }
}

extension ProcessRun.Output {
  /// The error lines of the program, without those of `mpirun`.
  var errorLines: [String] {
    standardError.split(separator: "\n").map(String.init).filter {
      $0.contains("rror: ") || $0.hasPrefix("wrn-dist: ")
    }
  }
}

extension JSONDecoder {
  /// Reads `images_per_second` into `imagesPerSecond`.
  static var snakeCase: JSONDecoder {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }
}

import Foundation
import TestSupport
import Testing
import Training

/// The recorded writes of real runs, cut off at every operation: a valid checkpoint is always left.
@Suite(
  .enabled(if: FileRecording.isAllowed, "skipped, because this machine does not allow processes to be traced"))
struct PowerFailureTests {
  /// Records a run that writes checkpoints after steps 2 and 4 and keeps one.
  private func record(_ folder: TemporaryDirectory, mode: String) throws -> FileRecording {
    let program = try BuiltProducts.executable("wrn-dist")
    let run = Job.training(
      folder, output: "\(folder.path)/run",
      ["--steps", "4", "--checkpoint-every", "2", "--keep-checkpoints", "1", "--checkpoint-mode", mode])
    return try FileRecording(root: folder.path, [program] + run.arguments)
  }

  @Test(arguments: ["async", "sync"])
  func everyPrefixLeavesAValidCheckpoint(mode: String) throws {
    let folder = try TemporaryDirectory()
    let recording = try record(folder, mode: mode)
    let checkpoints = "\(folder.path)/run/checkpoints"
    let renames = recording.operations.count {
      if case .rename(_, let to) = $0 { to == "\(checkpoints)/latest" } else { false }
    }
    #expect(renames == 2, "two checkpoints were recorded")
    let system = RecordedFileSystem(root: folder.path)
    var seen: [RecordedFileSystem.Failure: [String: [UInt8]]] = [:]
    var (published, isNamed, stateCount) = (0, false, 0)
    for operation in recording.operations {
      system.apply(operation)
      switch operation {
      case .rename(_, let to) where to == "\(checkpoints)/latest": isNamed = true
      case .synchronize(let path) where path == checkpoints && isNamed: (published, isNamed) = (published + 2, false)
      default: break
      }
      for failure in RecordedFileSystem.Failure.allCases {
        let files = system.files(after: failure).filter { $0.key.hasPrefix("run/checkpoints/") }
        if seen[failure] == files { continue }
        seen[failure] = files
        stateCount += 1
        let disk = try TemporaryDirectory()
        for (path, bytes) in files {
          let file = disk.url.appendingPathComponent(path)
          try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
          try Data(bytes).write(to: file)
        }
        let directory = CheckpointDirectory("\(disk.path)/run/checkpoints")
        let step = try directory.latest().checkpoint?.state?.step ?? 0
        #expect([published, published + 2].contains(step), "\(failure) after \(operation)")
        // What a resumed run removes leaves the same.
        directory.recover()
        #expect(try directory.latest().checkpoint?.state?.step ?? 0 >= step)
      }
    }
    #expect(published == 4 && stateCount > 50, "\(stateCount) states")
  }

  /// When a checkpoint gets its name, the log has every line up to its step on the disk.
  @Test func theLogIsOnTheDiskBeforeTheCheckpoint() throws {
    let folder = try TemporaryDirectory()
    let recording = try record(folder, mode: "async")
    let system = RecordedFileSystem(root: folder.path)
    var steps: [Int] = []
    for operation in recording.operations {
      if case .rename(_, let to) = operation, let match = to.firstMatch(of: #/run/checkpoints/step-0*([0-9]+)$/#) {
        let step = try #require(Int(match.1))
        steps.append(step)
        let log = system.files(after: .lostBytesAndNames)["run/metrics.jsonl"] ?? []
        let lines = String(decoding: log, as: UTF8.self)
        for line in 1...step { #expect(lines.contains("\"step\":\(line),"), "line \(line) before step \(step)") }
      }
      system.apply(operation)
    }
    #expect(steps == [2, 4])
  }

  /// A checkpoint loses its name before its files go, so a directory with a checkpoint's name is always complete.
  @Test func aCheckpointIsRenamedBeforeItIsRemoved() throws {
    let folder = try TemporaryDirectory()
    let recording = try record(folder, mode: "sync")
    var renamed = false
    for operation in recording.operations {
      switch operation {
      case .rename(let from, let to) where from.hasSuffix("/step-00000002"):
        #expect(to.hasSuffix("/.step-00000002.removed"))
        renamed = true
      case .remove(let path): #expect(!path.contains("/step-"), "\(path)")
      default: break
      }
    }
    #expect(renamed)
  }
}

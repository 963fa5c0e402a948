import Foundation
import Glibc
import TestSupport
import Testing

extension Job {
  /// Flags of a small model on synthetic images, which is evaluated every five steps.
  static let small = [
    "--depth", "10", "--batch-size", "16", "--data", "synthetic", "--eval-every", "5", "--eval-batches", "1",
  ]

  /// Creates a sweep.
  static func sweep(_ folder: TemporaryDirectory, _ words: [String], output: String = "d") -> Job {
    Job(folder, ["sweep"] + words + ["--output-dir", output])
  }
}

extension TemporaryDirectory {
  /// Returns the files of a directory with their numbers, lengths and times of change.
  func state(_ directory: String) throws -> [String: String] {
    let root = url.appendingPathComponent(directory)
    var result: [String: String] = [:]
    for case let name as String in try #require(FileManager.default.enumerator(atPath: root.path)) {
      var status = stat()
      #expect(stat(root.appendingPathComponent(name).path, &status) == 0)
      result[name] = "\(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }
    return result
  }

  /// Writes a program for `--launcher` that trains nothing, and writes the names of its signals to `signals`.
  ///
  /// It ends at SIGTERM with exit code 143. A stop request has the effect that the variable `ON_USR1` names: none, `stop`
  /// after half a second with exit code 75, or `die` of SIGKILL. The run of seed 2 ends when that of another seed is ready.
  ///
  /// - Returns: Its path.
  func writeSignalRecorder() throws -> String {
    try writeScript(
      "recorder",
      """
      #!/bin/bash
      case "$*" in *--seed=2*) until [ -s signals ]; do sleep 0.02; done; exit 0 ;; esac
      requested=no
      on_usr1() {
        echo USR1 >>signals
        requested=yes
        if [ "${ON_USR1:-}" = die ]; then kill -KILL $$; fi
      }
      trap on_usr1 USR1
      trap 'echo TERM >>signals; exit 143' TERM
      echo ready >>signals
      rounds=0
      while [ "$rounds" -lt 10 ]; do
        sleep 0.05
        if [ "$requested" = yes ] && [ "${ON_USR1:-}" = stop ]; then rounds=$((rounds + 1)); fi
      done
      exit 75
      """)
    return "\(path)/recorder"
  }

  /// What the program of ``writeSignalRecorder()`` has written.
  var signals: [String] { read("signals").split(separator: "\n").map(String.init) }

  /// The path of that file.
  var signalsPath: String { "\(path)/signals" }
}

/// Returns the processes whose command line has a text.
func processes(naming text: String) -> [pid_t] {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
  return names.compactMap { pid_t($0) }.filter { process in
    let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") ?? Data()
    return line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.contains { $0.contains(text) }
  }
}

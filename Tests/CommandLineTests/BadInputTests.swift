import Foundation
import Glibc
import TestSupport
import Testing

/// Invalid input: one error message, printed once, with the documented exit code, and no partial files.
@Suite struct BadInputTests {
  /// Runs a command alone and under `mpirun`, and expects the same error.
  private func refuse(
    _ folder: TemporaryDirectory, _ arguments: [String], code: Int32, _ words: [String],
    ranks: [Int?] = [nil, 2, 3], environment: [String: String] = [:]
  ) throws {
    for ranks in ranks {
      var job = Job(folder, ranks: ranks, arguments)
      job.environment = environment
      let output = try job.run()
      #expect(output.exitCode == code, "\(arguments), \(ranks ?? 0) ranks: \(output.standardError)")
      #expect(output.errorLines.count == 1, "\(output.standardError)")
      for word in words {
        #expect(output.errorLines.first?.contains(word) == true, "\(output.standardError)")
      }
      #expect(folder.names("out").isEmpty)
    }
  }

  private func training(_ more: [String]) -> [String] {
    ["train", "--depth", "10", "--steps", "2", "--output-dir", "out"] + more
  }

  @Test(arguments: [
    (["--depth", "23"], "--depth 23 is not a Wide ResNet depth"),
    (["--architecture", "wrn", "--block", "3,2"], "--block 3,2 is not a list of one to four kernel sizes 1 and 3"),
    (["--architecture", "wrn", "--block", "3,5"], "--block 3,5 is not a list"),
    (["--block", "3,1"], "--block 3,1 needs --architecture wrn"),
    (["--dropout", "1"], "--dropout 1.0 must be a probability in [0, 1)"),
    (["--schedule", "steps", "--milestones", "120,60"], "ilestone"),
    (["--schedule", "points", "--schedule-points", "0:1,1:0", "--steps", "5000"], "oint"),
    (["--resolution", "30"], "--resolution 30: 30 is not a multiple of 4"),
    (["--cutout", "33"], "--cutout 33 must lie between 0 and 32"),
    (["--crop-padding", "32"], "--crop-padding 32 must lie between 0 and 31"),
    (["--validation", "9990"], "--validation 9990 leaves 10 of 10000 training images"),
    (["--keep-best"], "--keep-best chooses by held-out images"),
    (["--momentum", "1"], "--momentum 1.0 must be in [0, 1)"),
    (["--average-decay", "1"], "--average-decay 1.0 must be in [0, 1)"),
    (["--average-every", "0"], "--average-every 0 must be at least 1"),
    (["--label-smoothing", "1"], "--label-smoothing 1.0 must be in [0, 1)"),
    (["--clip-norm", "-1"], "--clip-norm -1.0 must be a nonnegative number"),
    (["--blocks-per-group", "0"], "--blocks-per-group 0 must lie between 1 and 1666"),
    (["--blocks-per-group", "2"], "--depth and --blocks-per-group both set the depth"),
    (["--last-batch", "drop", "--batch-size", "10008"], "--last-batch drop needs at least one whole batch"),
  ])
  func settingsThatNoRunHas(flags: [String], message: String) throws {
    let depth = flags.first == "--depth" || flags == ["--blocks-per-group", "0"] ? [] : ["--depth", "10"]
    let length = flags.contains("--steps") ? [] : ["--steps", "2"]
    try refuse(
      TemporaryDirectory(), ["train", "--data", "synthetic", "--output-dir", "out"] + depth + length + flags, code: 64,
      [message], ranks: [nil])
  }

  @Test func aMissingDataDirectory() throws {
    try refuse(
      TemporaryDirectory(), training(["--data", "nowhere"]), code: 65,
      ["the data directory nowhere does not exist", "fetch-cifar10", "--data synthetic"])
  }

  @Test func aTruncatedDataFile() throws {
    let folder = try TemporaryDirectory()
    try writeData(folder, bytes: 3073 * 2 + 100)
    try refuse(
      folder, training(["--data", "data"]), code: 65,
      ["data_batch_1.bin has 6246 bytes", "not a multiple of 3073"])
  }

  @Test func aDataFileMissingInBetween() throws {
    let folder = try TemporaryDirectory()
    try writeData(folder, bytes: 3073 * 64)
    let data = folder.url.appendingPathComponent("data")
    for number in [2, 4] {
      try FileManager.default.copyItem(
        at: data.appendingPathComponent("data_batch_1.bin"), to: data.appendingPathComponent("data_batch_\(number).bin")
      )
    }
    for command in [training(["--data", "data"]), ["data", "verify", "data"]] {
      try refuse(
        folder, command, code: 65, ["data_batch_2.bin and data_batch_4.bin, but no file between them"], ranks: [nil])
    }
  }

  @Test func aLabelAboveNine() throws {
    let folder = try TemporaryDirectory()
    try writeData(folder, bytes: 3073 * 3, label: 10)
    try refuse(
      folder, training(["--data", "data"]), code: 65, ["data_batch_1.bin", "label 10, above 9"])
  }

  /// Found before the run starts, not when the record is read.
  @Test(arguments: ["data_batch_1.bin", "test_batch.bin"])
  func aSingleLabelAboveNine(name: String) throws {
    let folder = try TemporaryDirectory()
    try writeData(folder, bytes: 3073 * 640)
    let file = folder.url.appendingPathComponent("data/\(name)")
    var bytes = try Data(contentsOf: file)
    bytes[3073 * 400] = 200
    try bytes.write(to: file)
    try refuse(
      folder, training(["--data", "data", "--eval-batches", "1"]), code: 65,
      ["\(name): record 400 has label 200, above 9"])
    #expect(folder.names("out").isEmpty)
  }

  @Test(arguments: [
    (["--batch-size", "63"], ["--batch-size 63", "--microbatches 8", "use --microbatches 7."]),
    (["--batch-size", "0"], ["--batch-size 0"]),
    (["--microbatches", "0"], ["--microbatches 0 must be at least 1"]),
    (["--depth", "23"], ["--depth 23 is not a Wide ResNet depth", "for example 22"]),
    (["--widen-factor", "0"], ["--widen-factor 0"]),
    (["--steps", "0"], ["--steps 0"]),
    (["--steps", "-1"], ["--steps -1 must lie between 1 and"]),
    (["--steps", "9223372036854775807"], ["--steps 9223372036854775807 must lie between"]),
    (["--batch-size", "9223372036854775807"], ["--batch-size 9223372036854775807 must lie between"]),
    (["--depth", "1000000000000"], ["--depth 1000000000000 is more than 10000"]),
    (["--depth", "-2"], ["--depth -2", "for example 10"]),
    (["--epochs", "2"], ["--steps and --epochs"]),
    (["--threads", "0"], ["--threads 0"]),
    (["--learning-rate=-1"], ["--learning-rate -1"]),
    (["--learning-rate", "nan"], ["--learning-rate nan"]),
    (["--beta1", "1"], ["--beta1 1.0"]),
    (["--eval-batches", "0"], ["--eval-batches"]),
    (["--shuffle", "maybe"], ["--shuffle"]),
    (["--frobnicate"], ["Unknown option '--frobnicate'"]),
    (["stray"], ["Unexpected argument 'stray'"]),
  ])
  func invalidFlags(flags: [String], words: [String]) throws {
    try refuse(
      TemporaryDirectory(), training(["--data", "synthetic"] + flags), code: 64, words, ranks: [nil, 2])
  }

  @Test func tooManyEpochs() throws {
    try refuse(
      TemporaryDirectory(), ["train", "--epochs", "99999999999999999", "--output-dir", "out"], code: 64,
      ["--epochs 99999999999999999 must lie between"], ranks: [nil])
  }

  @Test func moreRanksThanMicrobatches() throws {
    try refuse(
      TemporaryDirectory(), training(["--microbatches", "2"]), code: 64,
      ["3 ranks cannot share 2 microbatches", "mpirun -np 2"], ranks: [3])
  }

  @Test func ranksThatCannotFormTheRoundedSums() throws {
    for command in [
      training(["--microbatches", "16", "--wire", "bf16"]),
      ["benchmark", "step", "--microbatches", "16", "--wire", "bf16", "--shared-cores", "compute"],
    ] {
      try refuse(
        TemporaryDirectory(), command, code: 64,
        [
          "3 ranks cannot share the 8 partial sums of 2 microbatches that --wire bf16 rounds",
          "start 1, 2, 4 or 8 ranks",
        ],
        ranks: [3])
    }
  }

  @Test func anOutputDirectoryThatCannotBeWritten() throws {
    let folder = try TemporaryDirectory()
    try folder.write("file", "in the way")
    try refuse(
      folder, ["train", "--steps", "1", "--output-dir", "file/run"], code: 73,
      ["the output directory file/run cannot be written", "--output-dir"])
  }

  @Test func aDirectoryThatAnotherRunWritesTo() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let first = try Job.training(folder, output: "run", ["--steps", "100000"]).run { child in
      try waitForLines(1, in: log)
      try refuse(
        folder, ["train", "--depth", "10", "--data", "synthetic", "--output-dir", "run", "--resume", "auto"], code: 73,
        ["another run writes to the output directory run"], ranks: [nil, 2])
      kill(child, SIGTERM)
    }
    #expect(first.exitCode == 75, "\(first.standardError)")
  }

  @Test func standardOutputThatCannotBeWritten() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "1"]).succeed()
    let full = try shell(folder, "$0 inspect run >/dev/full")
    #expect(full.exitCode == 74 && full.errorLines.count == 1, "\(full.standardError)")
    #expect(full.standardError.contains("standard output cannot be written: No space left on device"))
  }

  /// A pipe or a device is written to, not replaced by a file.
  @Test func specialFilesAreNotReplaced() throws {
    let folder = try TemporaryDirectory()
    try folder.write("theirs", "localhost:2\n")
    let output = try shell(
      folder, "mkfifo pipe && { cat pipe >got & } && $0 doctor --hostfile theirs --write pipe; wait; test -p pipe")
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(folder.read("got").contains("localhost slots=2"))
  }

  @Test func aFileThatCannotBeCreated() throws {
    let folder = try TemporaryDirectory()
    try folder.write("theirs", "localhost:2\n")
    for (path, words) in [
      (".", ". is a directory"), ("no/such/file", "there is no directory no/such"),
      ("theirs/file", "there is no directory theirs"), ("", "is not the name of a file"),
      ("new/", "is not the name of a file"),
    ] {
      try refuse(folder, ["doctor", "--hostfile", "theirs", "--write", path], code: 73, [words], ranks: [nil])
      try refuse(
        folder, training(["--data", "synthetic", "--trace", path]), code: 73, [words], ranks: [nil, 2])
    }
    #expect(folder.names("") == ["theirs"])
  }

  private func shell(_ folder: TemporaryDirectory, _ script: String) throws -> ProcessRun.Output {
    try ProcessRun(
      "/bin/sh", ["-c", script, BuiltProducts.executable("wrn-dist")], environment: MPIRun.environment(adding: [:]),
      workingFolder: folder.path, limit: .seconds(60)
    ).run()
  }

  @Test func aRunThatExistsAlready() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "1"]).succeed()
    let arguments = ["train", "--output-dir", "run", "--resume", "never"]
    try refuse(folder, arguments, code: 73, ["run already contains a run", "--resume auto"])
  }

  @Test func processesThatAreNotConnected() throws {
    for (variable, command) in [("SLURM_NTASKS", "mpirun -np 4"), ("PMI_SIZE", "mpirun -np 4")] {
      try refuse(
        TemporaryDirectory(), training([]), code: 69, [variable, "is alone", command], ranks: [nil],
        environment: [variable: "4", "SLURM_JOB_ID": "1"])
    }
  }

  @Test func anInvalidSettingsFile() throws {
    let folder = try TemporaryDirectory()
    try folder.write("unknown.yaml", "frobnicate: 1\n")
    try folder.write("broken.yaml", "a: [1\n")
    try folder.write("list.yaml", "- 1\n")
    try folder.write("value.yaml", "depth: 23\n")
    for (file, word) in [
      ("unknown", "'frobnicate' is not a setting"), ("broken", "is not YAML"), ("list", "must be a mapping"),
      ("value", "--depth 23"), ("missing", "cannot be read"),
    ] {
      try refuse(
        folder, ["train", "--config", "\(file).yaml", "--output-dir", "out"], code: 64, [word],
        ranks: [nil])
    }
  }

  private func writeData(_ folder: TemporaryDirectory, bytes: Int, label: UInt8 = 3) throws {
    let url = folder.url.appendingPathComponent("data")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    for name in ["data_batch_1.bin", "test_batch.bin"] {
      try Data([UInt8](repeating: label, count: bytes)).write(to: url.appendingPathComponent(name))
    }
  }
}

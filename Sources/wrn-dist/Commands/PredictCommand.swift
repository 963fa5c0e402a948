import ArgumentParser
import Collectives
import Datasets
import Foundation
import Images
import Models
import Training

/// Classifies image files.
struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Classifies PNG and JPEG files with a trained model.",
    discussion: """
      An image's largest central square is resized to 32×32 pixels by the mean over areas, and normalized as in the run. \
      Batch norms use running statistics, so a result does not depend on the other images. A file that cannot be decoded \
      is reported on standard error, the others are classified, and the exit code is 65.
      """)

  @OptionGroup var model: InferenceOptions
  @Option(help: "Number of classes to show per image.") var top = 5
  @Flag(help: "Print one JSON object per image.") var json = false
  @Flag(help: "Print comma-separated values with a header.") var csv = false
  @Option(
    help: "Write the images with their classes to this .png file; the first \(ImageGrid.maximumCount) of more.")
  var output: String?
  @Option(help: "\(HelpText.engine).") var engine = TrainingConfiguration.Engine.native
  @Option(help: "\(HelpText.threads)")
  var threads: Int?
  @Argument(help: "PNG or JPEG files, directories of them, or - for standard input.")
  var images: [String]

  func run() throws {
    let alone = SingleProcessCommunicator()
    guard !(json && csv) else { throw UsageError("--json and --csv both set the format; give one of them.") }
    guard output.map({ $0.lowercased().hasSuffix(".png") }) ?? true else {
      throw UsageError("--output \(output ?? "") must end in .png, the format of the file.")
    }
    guard images.count(where: { $0 == ImageFiles.standardInput }) <= 1 else {
      throw UsageError("standard input (-) is given more than once, but it is one file; give - once.")
    }
    let threadCount = try ThreadBudget(alone).count(requested: threads)
    // Before the work: a file that cannot be written ends the command at once.
    if let output { try OutputFile.check(output) }
    let model = try InferenceModel(model)
    guard (1...model.classNames.count).contains(top) else {
      throw UsageError("--top \(top) must lie between 1 and \(model.classNames.count), the number of classes.")
    }
    let pool = try WorkerPool(workerCount: threadCount)
    let predictor = Predictor(
      model.state, pipeline: ImagePipeline(normalization: model.normalization),
      engine: try EngineSelection(engine, alone).engine, pool: pool)
    var report = PredictionReport(
      format: json ? .json : csv ? .csv : .text, classNames: model.classNames, top: top, drawsGrid: output != nil)
    report.begin(model.description)

    let files = ImageFiles.expand(images)
    var failureCount = 0
    for start in stride(from: 0, to: files.count, by: predictor.batchSize) {
      let batch = Array(files[start..<min(start + predictor.batchSize, files.count)])
      let decoded = ImageBatch.decode(batch, thumbnails: report.wantsThumbnails, by: pool)
      var position = 0
      for case .success(let image) in decoded {
        image.pixels.copyPlanes(to: predictor.planes.pointer + position * Predictor.byteCountPerImage)
        position += 1
      }
      let logits = position == 0 ? nil : try predictor.logits(count: position)
      position = 0
      for result in decoded {
        switch result {
        case .success(let image):
          let row = UnsafeBufferPointer(
            start: logits.map { $0 + position * predictor.classCount }, count: predictor.classCount)
          position += 1
          guard let ranked = RankedClasses(row) else {
            throw CheckpointError(
              .bad, "\(self.model.checkpoint) computes logits that are not finite; give another checkpoint.")
          }
          try report.add(image, ranked)
        case .failure(let failure):
          failureCount += 1
          try report.add(failure)
        }
      }
    }
    if let output, let grid = report.grid { try OutputFile.replace(output, with: PNGEncoder.encode(grid)) }
    if failureCount > 0 {
      throw ImageError(
        "\(failureCount) of \(files.count) images could not be classified; the sentences above give the reasons.")
    }
  }
}

/// The image files of a batch, decoded and resized by several threads.
enum ImageBatch {
  /// A file's pixels as the model reads them.
  struct Image {
    /// The file, as reports name it.
    let name: String
    /// 32×32 pixels.
    let pixels: RGBImage
    /// The image in the grid; `nil` if none is needed.
    let thumbnail: RGBImage?
  }

  /// A file that cannot be classified.
  struct Failure: Error {
    /// The file, as reports name it; `nil` for a directory.
    let name: String?
    /// One sentence.
    let message: String
  }

  /// Decodes files.
  ///
  /// - Parameters:
  ///   - files: The files of the batch.
  ///   - thumbnails: Whether images for a grid are needed.
  ///   - pool: The threads.
  /// - Returns: A result per file, in the same order.
  static func decode(
    _ files: [Result<String, ImageError>], thumbnails: Bool, by pool: WorkerPool
  ) -> [Result<Image, Failure>] {
    [Result<Image, Failure>](unsafeUninitializedCapacity: files.count) { results, count in
      pool.parallelFor(files.count, with: (files: files, thumbnails: thumbnails, results: results)) { context, i, _ in
        let context = context.pointee
        guard let start = context.results.baseAddress else { return }
        (start + i).initialize(to: decode(context.files[i], thumbnail: context.thumbnails))
      }
      count = files.count
    }
  }

  private static func decode(
    _ file: Result<String, ImageError>, thumbnail: Bool
  ) -> Result<Image, Failure> {
    var name: String?
    do {
      let path = try file.get()
      let displayName = ImageFiles.displayName(path)
      name = displayName
      let decoded = try ImageFiles.read(path).withUnsafeBytes { try ImageDecoder.decode($0, name: displayName) }
      let pixels = AreaResize.square(decoded.image, decoded.orientation, size: ImageDataset.imageSize)
      return .success(
        Image(
          name: displayName, pixels: pixels,
          thumbnail: thumbnail
            ? AreaResize.square(decoded.image, decoded.orientation, size: ImageGrid.imageSize) : nil))
    } catch {
      return .failure(Failure(name: name, message: "\(error)"))
    }
  }
}

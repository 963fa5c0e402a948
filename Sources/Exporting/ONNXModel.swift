import Datasets
import Models
import Training

/// A trained model in ONNX's format, for ONNX Runtime and other programs.
///
/// The input is raw pixels, so the run's pixel normalization is part of the model; the output is logits. Batch norms use
/// running statistics and dropout is left out, as in PyTorch's `eval()`. The batch size is free. The file needs opset 17
/// (https://github.com/onnx/onnx/blob/main/docs/Versioning.md).
public struct ONNXModel {
  /// The element type and layout of the input `images`.
  public enum Input: String, Sendable, CaseIterable {
    /// `[batch, 32, 32, 3]`, as image decoders give them: raw values 0 … 255, `NHWC`.
    case uint8
    /// `[batch, 3, 32, 32]`, as PyTorch's models read them: raw values 0 … 255, not divided by 255, `NCHW`.
    case float

    /// The shape of the input, in words.
    public func shape(imageSize: Int) -> String {
      self == .uint8 ? "[batch, \(imageSize), \(imageSize), 3]" : "[batch, 3, \(imageSize), \(imageSize)]"
    }
  }

  /// The version of ONNX's operators.
  public static let operatorSetVersion = 17
  /// The version of the file format that belongs to ``operatorSetVersion``.
  static let formatVersion: Int64 = 8
  /// The most bytes of a protobuf message, and so of a file without external data; a whitening and names take up to 2²⁶.
  static let maximumByteCount = 1 << 31 - 1

  /// The batch norms that are part of a convolution's weights.
  public let foldedNormalizationCount: Int
  /// The contents of the file.
  package let message: Onnx_ModelProto

  /// Translates a model, operation by operation.
  ///
  /// - Parameters:
  ///   - model: Parameters and running statistics.
  ///   - normalization: The map from raw pixels to the model's input.
  ///   - input: The element type and layout of the images.
  ///   - foldsNormalizations: Whether batch norms become part of the preceding convolution where the graph allows it.
  ///   - programVersion: The version of wrn-dist, for the file's description.
  ///   - metadata: Names and values that the file carries, in this order.
  /// - Throws: ``ExportError`` if the model is too large for the format.
  public init(
    _ model: ModelState, normalization: PixelNormalization, input: Input, foldsNormalizations: Bool = false,
    programVersion: String, metadata: [(name: String, value: String)] = []
  ) throws {
    let byteCount = 4 * model.parameters.elements.count
    guard byteCount < Self.maximumByteCount - 1 << 26 else {
      throw ExportError(
        "\(model.graph.name) has \(byteCount >> 20) MiB of parameters, too many for an ONNX file; "
          + "use the checkpoint's model.safetensors.")
    }
    let folding = NormalizationFolding(model, isEnabled: foldsNormalizations)
    var translation = ONNXTranslation(model, folding)
    translation.appendInput(input, normalization)
    translation.appendOperations()
    foldedNormalizationCount = folding.count
    message = Onnx_ModelProto.with {
      $0.irVersion = Self.formatVersion
      $0.producerName = "wrn-dist"
      $0.producerVersion = programVersion
      $0.graph = translation.writer.graph
      $0.opsetImport = [.with { $0.version = Int64(Self.operatorSetVersion) }]
      $0.metadataProps = metadata.map { entry in
        .with {
          $0.key = entry.name
          $0.value = entry.value
        }
      }
    }
  }

  /// Returns the contents of the file; equal models give equal bytes.
  ///
  /// - Throws: The error of swift-protobuf, which no valid message has.
  public func bytes() throws -> [UInt8] { try message.serializedBytes() }
}

/// A model that a format cannot hold.
public struct ExportError: Error, CustomStringConvertible, Sendable {
  /// One sentence: what is wrong; how to fix it.
  public let description: String

  init(_ description: String) { self.description = description }
}

import Tensors

// The fused prologues of a convolution: one sweep over an image writes its operand into padded scratch memory.

/// Writes z = max(0, scale·x + shift), with dropout if there is a mask, or x itself, into a padded image.
///
/// - Parameters:
///   - input: x, the map from x to z, and the dropout mask.
///   - offset: The index of the image's first element in x.
///   - image: The destination; its border is left unchanged.
///   - channels: C.
///   - source: The pixels of x that become pixels of the image. If `nil`, they are the whole rows of an image of its size.
func applyInputPrologue(
  _ input: ConvolutionInput, offset: Int, into image: PaddedImage, channels: Int, from source: PixelGrid? = nil
) {
  let source = source ?? PixelGrid(imageWidth: image.width, channels: channels)
  let (x, dropout) = (input.activation + offset, input.dropout?.advanced(by: offset))
  guard let map = input.normalization else {
    copyPixels(x, source, into: image, channels: channels)
    return
  }
  guard ChannelBlock.covers(channels: channels) else {
    for y in 0..<image.height {
      for pixel in 0..<image.width {
        let (i, target) = (y * source.rowStride + pixel * source.pixelStride, image.row(y) + pixel * channels)
        for c in 0..<channels {
          let value = map.shift[c].addingProduct(map.scale[c], x[i + c])
          let z = value < 0 ? 0 : value
          target[c] = dropout?.applied(to: z, i + c) ?? z
        }
      }
    }
    return
  }
  forEachChannelBlock(channels: channels, imageWidth: image.width) { block in
    let (scale, shift) = (block.coefficients(map.scale), block.coefficients(map.shift))
    let (offsets, step, steps) = (block.offsets, block.pixelBlockStride, block.pixelBlocksPerRow)
    // Where pixels are adjacent, one set of offsets serves source and target.
    if dropout == nil && source.pixelStride == channels {
      for y in 0..<image.height {
        var (source, target) = (x + y &* source.rowStride, image.row(y))
        for _ in 0..<steps {
          shift.addingProduct(scale, VectorX4(source, offsets)).relu.store(target, offsets)
          source += step
          target += step
        }
      }
      return
    }
    let (sourceOffsets, sourceStep) = (
      block.offsets(pixelStride: source.pixelStride), block.pixels &* source.pixelStride
    )
    @inline(__always) func apply(_ dropout: DropoutMask?) {
      for y in 0..<image.height {
        var (i, target) = (y &* source.rowStride, image.row(y))
        for _ in 0..<steps {
          var z = shift.addingProduct(scale, VectorX4(x + i, sourceOffsets)).relu
          if let dropout { z = z.dropped(by: dropout, i, sourceOffsets) }
          z.store(target, offsets)
          i &+= sourceStep
          target += step
        }
      }
    }
    if let dropout { apply(dropout) } else { apply(nil) }
  }
}

/// Copies pixels of x to an image.
private func copyPixels(_ x: UnsafePointer<Float>, _ source: PixelGrid, into image: PaddedImage, channels: Int) {
  for y in 0..<image.height {
    let (row, target) = (x + y * source.rowStride, image.row(y))
    if source.pixelStride == channels {
      target.update(from: row, count: image.width * channels)
    } else {
      for pixel in 0..<image.width {
        (target + pixel * channels).update(from: row + pixel * source.pixelStride, count: channels)
      }
    }
  }
}

/// Writes dY = (ca·g + cb·y + cc, or g) (+ addend) into a padded image, saves it and adds it to the bias gradient if
/// there are destinations for these.
///
/// - Parameters:
///   - operand: The terms of dY, and where dY is saved.
///   - offset: The index of the image's first element in all its tensors.
///   - image: The destination; its border is left unchanged.
///   - channels: K.
///   - biasGradient: K sums that dY is added to. If `nil`, there is no bias.
func applyOutputGradientPrologue(
  _ operand: ConvolutionOutputGradient, offset: Int, into image: PaddedImage, channels: Int,
  biasGradient: UnsafeMutablePointer<Float>?
) {
  guard ChannelBlock.covers(channels: channels) else {
    applyOutputGradientPrologueScalar(
      operand, offset: offset, into: image, channels: channels, biasGradient: biasGradient)
    return
  }
  forEachChannelBlock(channels: channels, imageWidth: image.width) { block in
    let prologue = OutputGradientPrologue(
      operand, offset: offset, image: image, channels: channels, block: block,
      biasGradient: biasGradient)
    // One loop for each set of operands that a step has: no pixel tests for those that are `nil`.
    switch (operand.normalization?.activation, operand.addend, operand.savedGradient) {
    case (nil, nil, nil): prologue.apply(y: nil, addend: nil, saved: nil)
    case (let y?, nil, nil): prologue.apply(y: y, addend: nil, saved: nil)
    case (let y?, nil, let saved?): prologue.apply(y: y, addend: nil, saved: saved)
    case (let y?, let addend?, let saved?): prologue.apply(y: y, addend: addend, saved: saved)
    case (let y, let addend, let saved): prologue.apply(y: y, addend: addend, saved: saved)
    }
  }
}

/// ``applyOutputGradientPrologue(_:offset:into:channels:biasGradient:)`` for one block of channels.
private struct OutputGradientPrologue {
  private let gradient: UnsafePointer<Float>
  private let ca: VectorX4
  private let cb: VectorX4
  private let cc: VectorX4
  private let offset: Int
  private let image: PaddedImage
  private let rowCount: Int
  private let block: ChannelBlock
  private let biasGradient: UnsafeMutablePointer<Float>?

  init(
    _ operand: ConvolutionOutputGradient, offset: Int, image: PaddedImage, channels: Int,
    block: ChannelBlock, biasGradient: UnsafeMutablePointer<Float>?
  ) {
    gradient = operand.gradient
    let map = operand.normalization
    ca = map.map { block.coefficients($0.gradientScale) } ?? VectorX4()
    cb = map.map { block.coefficients($0.activationScale) } ?? VectorX4()
    cc = map.map { block.coefficients($0.constant) } ?? VectorX4()
    self.offset = offset
    self.image = image
    rowCount = image.width * channels
    self.block = block
    self.biasGradient = biasGradient
  }

  @inline(__always)
  func apply(
    y: UnsafePointer<Float>?, addend: UnsafePointer<Float>?, saved: UnsafeMutablePointer<Float>?
  ) {
    let (ca, cb, cc, gradient) = (ca, cb, cc, gradient)
    let (offsets, step, steps) = (block.offsets, block.pixelBlockStride, block.pixelBlocksPerRow)
    var sums = VectorX4()
    for row in 0..<image.height {
      var (i, target) = (offset &+ row &* rowCount, image.row(row))
      for _ in 0..<steps {
        var value = VectorX4(gradient + i, offsets)
        if let y { value = cc.addingProduct(cb, VectorX4(y + i, offsets)).addingProduct(ca, value) }
        if let addend { value = value + VectorX4(addend + i, offsets) }
        if let saved { value.store(saved + i, offsets) }
        value.store(target, offsets)
        sums = sums + value
        i &+= step
        target += step
      }
      if let biasGradient, (row + 1).isMultiple(of: block.rowsPerFlush) || row == image.height - 1 {
        block.add(sums, to: biasGradient)
        sums = VectorX4()
      }
    }
  }
}

private func applyOutputGradientPrologueScalar(
  _ operand: ConvolutionOutputGradient, offset: Int, into image: PaddedImage, channels: Int,
  biasGradient: UnsafeMutablePointer<Float>?
) {
  for row in 0..<image.height {
    for pixel in 0..<image.width {
      let i = offset + (row * image.width + pixel) * channels
      let target = image.row(row) + pixel * image.pixelStride
      for k in 0..<channels {
        var value = operand.gradient[i + k]
        if let map = operand.normalization {
          value = map.constant[k].addingProduct(map.activationScale[k], map.activation[i + k])
            .addingProduct(map.gradientScale[k], value)
        }
        if let addend = operand.addend { value += addend[i + k] }
        operand.savedGradient?[i + k] = value
        target[k] = value
        biasGradient?[k] += value
      }
    }
  }
}

/**
 * The tfjs namespace: ops, tape and types. Every other package takes tfjs from here,
 * so that there is one instance of it and one place where its quirks are met.
 */
import * as tf from '@tensorflow/tfjs';

// Without this tfjs checks every tensor for NaN and advertises other packages on stderr.
tf.enableProdMode();

export { tf };
